"""Conventions that no tool checks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from app.errors import Problem
from app.server.http_protocol import REJECTIONS
from tests.routes import PUBLIC_ROUTES, list_requirements, list_routes

ROOT = Path(__file__).parents[2]
APP = ROOT / "app"
SOURCES = {path.relative_to(APP).as_posix(): path.read_text() for path in APP.rglob("*.py")}


def find_problems(root: type[Problem] = Problem):
    for problem in root.__subclasses__():
        if "code" in vars(problem):
            yield problem
        yield from find_problems(problem)


def find_calls(name: str):
    """Yield every call of a method of that name: file, and expression before the dot."""
    for file, source in SOURCES.items():
        for node in ast.walk(ast.parse(source)):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == name
            ):
                yield file, ast.unparse(node.func.value)


def test_every_route_is_listed_as_public_or_requires_a_credential(sqlite_service):
    anonymous = sqlite_service.actor()
    bodies = [
        {},
        {"data": b"{", "content_type": "application/json"},
        {"data": b"x", "content_type": "text/plain"},
        {"data": b'{"unknown": 1}', "content_type": "application/json"},
    ]
    requirements = dict(list_requirements(sqlite_service))
    guarded = [
        (method, path)
        for name, method, path in list_routes(sqlite_service)
        if requirements[name] and {"bearer": []} in requirements[name].security
    ]
    assert len(guarded) > 8
    public = {
        name for name, method, path in list_routes(sqlite_service) if (method, path) not in guarded
    }
    assert public <= PUBLIC_ROUTES
    for method, path in guarded:
        for body in bodies:
            answer = anonymous.call(method, path, **body)
            assert answer.status_code == 401, f"{method} {path} with {body}: {answer.status_code}"
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_list_of_public_routes_contains_only_existing_routes(sqlite_service):
    assert {name for name, _, _ in list_routes(sqlite_service)} >= PUBLIC_ROUTES


def test_problem_codes_are_unique():
    codes = [problem.code for problem in find_problems()]
    assert sorted(codes) == sorted(set(codes))


def test_every_problem_is_documented_and_nothing_else():
    documented = set(
        re.findall(r"^### `(\w+)`", (ROOT / "docs" / "problems.md").read_text(), re.MULTILINE)
    )
    raised = {problem.code for problem in find_problems()} | {each.code for each in REJECTIONS}
    assert documented == raised


def test_only_authentication_verifies_a_password():
    found = {file for file, before in find_calls("verify") if before.endswith("hasher")}
    assert found == {"authentication/passwords/verify.py"}


def test_only_the_unit_of_work_commits():
    assert {file for file, _ in find_calls("commit")} == {"unit_of_work.py"}


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (r"os\.environ|os\.getenv", {"settings/environment.py"}),
        (r"datetime\.now|time\.time\(|utcnow", {"adapters/clock.py"}),
        (r"func\.now", set()),
        (r"server_default", {"notifications/outbox/models.py"}),
        (r"unittest\.mock|monkeypatch", set()),
        (
            r"except Exception",
            {
                "server/background_jobs.py",
                "cli/checks.py",
                "cli/db.py",
                "cli/doctor.py",
                "web/auth/requirements.py",
                "web/readiness.py",
                "web/unit_of_work.py",
            },
        ),
    ],
)
def test_restricted_calls_appear_only_in_their_files(words, allowed):
    assert {file for file, source in SOURCES.items() if re.search(words, source)} <= allowed


def test_signatures_avoid_any():
    """No Any in a signature, except where a library's own Any enters."""
    loose = set()
    for file, source in SOURCES.items():
        if file.split("/")[0] in {"adapters", "web", "api", "cli", "server", "settings", "pages"}:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                annotations = [
                    argument.annotation for argument in [*node.args.args, *node.args.kwonlyargs]
                ] + [node.returns]
                if any(
                    annotation is not None and re.search(r"\bAny\b", ast.unparse(annotation))
                    for annotation in annotations
                ):
                    loose.add(f"{file}:{node.name}")
    assert loose == set()
