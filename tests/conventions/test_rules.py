"""Conventions that no tool checks."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from app.errors import Problem
from app.server.gunicorn_worker import PARSE_ERRORS

ROOT = Path(__file__).parents[2]
APP = ROOT / "app"
SOURCES = {path.relative_to(APP).as_posix(): path.read_text() for path in APP.rglob("*.py")}

# Routes without a credential. Every other route checks its requirement before it reads the body.
PUBLIC = {
    "POST /v1/register",
    "POST /v1/register/confirm",
    "POST /v1/register/resend",
    "POST /v1/login",
    "POST /v1/password/forgot",
    "POST /v1/password/reset",
    "POST /v1/token/refresh",
    "POST /v1/login-sessions",
    "POST /v1/login-sessions/cancel",
    "POST /v1/api-keys/report-leak",
    "GET /v1/methods",
    "GET /.well-known/jwks.json",
    "GET /.well-known/identity-jwks.json",
    "GET /.well-known/oauth-authorization-server",
    "GET /.well-known/oauth-authorization-server/<path:issuer_path>",
    "GET /.well-known/openid-configuration",
    "GET /.well-known/openid-configuration/<path:issuer_path>",
    # The client authenticates in the form, which must be read first. Errors have the OAuth format.
    "POST /oauth/token",
    "POST /oauth/device_authorization",
    "POST /oauth/introspect",
    "POST /oauth/revoke",
    "GET /livez",
    "GET /readyz",
    "GET /version",
    "GET /openapi.json",
    "GET /docs",
    "GET /docs/assets/<name>",
    "GET /static/<path:filename>",
    "GET /confirm/<token>",
    "POST /confirm/<token>",
    "GET /reset/<token>",
    "POST /reset/<token>",
    "GET /dev/mailbox",
    "GET /.well-known/change-password",
    # Pages use the page cookie and check the origin of a form instead; see
    # tests/pages/test_page_access.py.
    "GET /login",
    "POST /login",
    "GET /login/forgot",
    "POST /login/forgot",
    "POST /login/new-password",
    "GET /login/again",
    "POST /login/again",
    "POST /login/out",
    "GET /login/activate",
    "GET /login/activate/<user_code>",
    "POST /login/activate",
    "GET /login/requests/<login_session_id>",
    "POST /login/requests/<login_session_id>/approve",
    "POST /login/requests/<login_session_id>/deny",
    "POST /login/requests/<login_session_id>/suspicious",
    "GET /login/sessions",
    "POST /login/sessions/<session_id>/end",
    "POST /login/sessions/<session_id>/suspicious",
    "POST /login/sessions/end-others",
    "POST /login/sessions/end-all",
    "POST /login/devices/<device_id>/forget",
    "POST /login/password",
}


def routes(service):
    """Yield every route as "METHOD rule", with its method and a path for it."""
    for rule in service.app.url_map.iter_rules():
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            yield (
                f"{method} {rule.rule}",
                method,
                re.sub(r"<[^>]+>", "x", rule.rule.replace("<policy>", "default")),
            )


def list_requirements(service):
    """Every route as "METHOD rule" with the requirement that its handler declares, or None."""
    for rule in service.app.url_map.iter_rules():
        handler = service.app.view_functions[rule.endpoint]
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            yield f"{method} {rule.rule}", getattr(handler, "requirement", None)


def problems(root: type[Problem] = Problem):
    for problem in root.__subclasses__():
        if "code" in vars(problem):
            yield problem
        yield from problems(problem)


def calls(name: str):
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
    nobody = sqlite_service.actor()
    bodies = [
        {},
        {"data": b"{", "content_type": "application/json"},
        {"data": b"x", "content_type": "text/plain"},
        {"data": b'{"unknown": 1}', "content_type": "application/json"},
    ]
    requirements = dict(list_requirements(sqlite_service))
    guarded = [
        (method, path)
        for name, method, path in routes(sqlite_service)
        if requirements[name] and {"bearer": []} in requirements[name].security
    ]
    assert len(guarded) > 8
    public = {
        name for name, method, path in routes(sqlite_service) if (method, path) not in guarded
    }
    assert public <= PUBLIC
    for method, path in guarded:
        for body in bodies:
            answer = nobody.call(method, path, **body)
            assert answer.status_code == 401, f"{method} {path} with {body}: {answer.status_code}"
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_list_of_public_routes_contains_only_existing_routes(sqlite_service):
    assert {name for name, _, _ in routes(sqlite_service)} >= PUBLIC


def test_problem_codes_are_unique():
    codes = [problem.code for problem in problems()]
    assert sorted(codes) == sorted(set(codes))


def test_every_problem_is_documented_and_nothing_else():
    documented = set(
        re.findall(r"^### `(\w+)`", (ROOT / "docs" / "problems.md").read_text(), re.MULTILINE)
    )
    raised = {problem.code for problem in problems()} | {
        code for _, _, code in PARSE_ERRORS.values()
    }
    assert documented == raised


def test_only_authentication_verifies_a_password():
    found = {file for file, before in calls("verify") if before.endswith("hasher")}
    assert found == {"authentication/passwords/verify.py"}


def test_only_the_unit_of_work_commits():
    assert {file for file, _ in calls("commit")} == {"unit_of_work.py"}


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
                "api/health.py",
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
