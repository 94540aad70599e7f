"""`config reference` names exactly the routes that count against each LIMIT_ setting."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from app.settings import Settings

APP = Path(__file__).resolve().parents[2] / "app"
ROUTE = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) (/[^\s,;.)]+)")
# Use cases that count by themselves, because they count only part of the requests of a route.
COUNTED_IN_USE_CASES = {
    ("web/auth/requirements.py", "refresh"): {"POST /v1/logout", "POST /v1/logout-all"},
    ("oauth/tokens.py", "refresh"): {"POST /oauth/token"},
    ("oauth/revoke.py", "refresh"): {"POST /oauth/revoke"},
    ("registration/confirm.py", "code"): {"POST /v1/register/confirm"},
    ("device_login/start.py", "device"): {
        "POST /v1/login-sessions",
        "POST /oauth/device_authorization",
    },
    ("device_login/poll.py", "poll"): {"POST /oauth/token"},
    ("device_login/cancel.py", "poll"): {"POST /v1/login-sessions/cancel"},
    # Failed client authentication, counted apart from logins under the same limit.
    ("oauth/clients.py", "login"): {
        "POST /oauth/token",
        "POST /oauth/introspect",
        "POST /oauth/revoke",
    },
}


def _find_counting_use_cases():
    """Yield file and limit of every call of `count_request` or `limiter.hit` with a setting."""
    for path in sorted(APP.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called == "count_request" and isinstance(node.args[2], ast.Constant):
                yield path.relative_to(APP).as_posix(), node.args[2].value
            elif called == "work.limiter.hit":
                setting = re.fullmatch(r"work\.settings\.limit_(\w+)", ast.unparse(node.args[0]))
                if setting:
                    yield path.relative_to(APP).as_posix(), setting[1]


@pytest.fixture
def limited_routes(sqlite_service):
    """Return the routes that count against each limit, by its name."""
    app, routes = sqlite_service.app, {}
    for rule in app.url_map.iter_rules():
        limit = getattr(app.view_functions[rule.endpoint], "rate_limit_name", None)
        if limit is not None:
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
            methods = rule.methods - {"HEAD", "OPTIONS"}
            routes.setdefault(limit, set()).update(f"{method} {path}" for method in methods)
    for (_, limit), indirect in COUNTED_IN_USE_CASES.items():
        routes.setdefault(limit, set()).update(indirect)
    return routes


def test_every_counting_use_case_is_listed_here():
    assert set(_find_counting_use_cases()) == set(COUNTED_IN_USE_CASES)


def test_reference_names_exactly_the_routes_that_count(limited_routes):
    described = {
        field.name.removeprefix("limit_"): {
            f"{method} {path}" for method, path in ROUTE.findall(field.metadata["description"])
        }
        for field in dataclasses.fields(Settings)
        if field.name.startswith("limit_")
    }
    # An API key counts on every route, so its limit names none.
    assert described.pop("key") == set()
    assert described == limited_routes
