"""Every response to any request is one that the OpenAPI document describes."""

from __future__ import annotations

import re

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.authorization import sign_in_with_role

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    allow_header_conformance,
]
LIMITS = {
    f"limit_{name}": "100000/minute"
    for name in ("login", "register", "resend", "confirm", "code", "refresh")
}
GENERATED = settings(
    max_examples=7,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def build_document(app) -> dict:
    """Return the document without default responses, so that each status must be documented."""
    document = app.test_client().get("/openapi.json").json
    for operations in document["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict):
                operation.get("responses", {}).pop("default", None)
    return document


@pytest.fixture
def service(make_service):
    return make_service(**LIMITS)


@pytest.fixture
def schema(service):
    schema = schemathesis.openapi.from_dict(build_document(service.app))
    schema.app = service.app
    return schema


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_response_is_documented(service, schema, mode):
    ann = service.actor().sign_in()
    requested: set[str] = set()
    rejected: set[str] = set()

    def send_generated(operation) -> None:
        @GENERATED
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case) -> None:
            if ann.whoami().status_code == 401:
                ann.login()
            answer = case.call(headers={"Authorization": f"Bearer {ann.access}"})
            requested.add(operation.label)
            # 503 for an unknown policy means that the gateway is misconfigured.
            case.validate_response(answer, checks=CHECKS[operation.path.startswith("/authz/") :])
            part = case.meta.components.get(ParameterLocation.BODY)
            if (
                part is not None
                and part.mode is GenerationMode.NEGATIVE
                and case.body is not NOT_SET
            ):
                rejected.add(operation.label)
                assert answer.status_code >= 400, case.body

        send()

    # After deleting its own account, the client is unauthenticated.
    operations = sorted(
        (found.ok() for found in schema.get_all_operations()),
        key=lambda found: found.label == "DELETE /v1/me",
    )
    for operation in operations:
        anything = operation.path.endswith("/{issuer_path}")  # every path under it is valid
        if (
            mode is GenerationMode.POSITIVE
            or operation.body
            or (operation.path_parameters and not anything)
        ):
            send_generated(operation)
    assert len(operations) >= 19
    assert "POST /v1/login" in requested
    assert mode is GenerationMode.POSITIVE or "PATCH /v1/me" in rejected


def test_every_success_matches_its_schema(service, schema):
    ann = service.actor()

    def send(
        method: str,
        path: str,
        status: int,
        body=None,
        *,
        token: str | None = None,
        **path_parameters,
    ):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        case = schema[path][method].Case(
            path_parameters=path_parameters,
            **({"body": body, "media_type": "application/json"} if body else {}),
        )
        answer = case.call(headers=headers)
        assert answer.status_code == status
        case.validate_response(answer, checks=CHECKS)
        return answer.json() if answer.content else None

    registration = send(
        "POST",
        "/v1/register",
        202,
        {"username": "ann", "email": ann.email, "name": "Ann", "password": ann.password},
    )["registration"]
    send("POST", "/v1/register/resend", 202, {"email": "somebody@example.org"})
    send(
        "POST",
        "/v1/register/confirm",
        200,
        {"registration": registration, "code": ann.mail()["code"]},
    )
    credentials = {
        "username": "ann",
        "password": ann.password,
        "device_name": "a phone",
        "expires_in": 3600,
    }
    other = send("POST", "/v1/login", 200, credentials)
    tokens = send("POST", "/v1/login", 200, {"username": "ann", "password": ann.password})
    tokens = send("POST", "/v1/token/refresh", 200, {"refresh_token": tokens["refresh_token"]})
    mine = {"token": tokens["access_token"]}
    send(
        "PATCH",
        "/v1/me",
        200,
        {"name": "Anna", "locale": "de", "timezone": "Europe/Vienna", "metadata": {"a": [1]}},
        **mine,
    )
    for path in (
        "/v1/me",
        "/v1/whoami",
        "/v1/sessions",
        "/v1/methods",
        "/.well-known/jwks.json",
        "/.well-known/identity-jwks.json",
        "/livez",
        "/readyz",
        "/version",
    ):
        send("GET", path, 200, **mine)
    for question in ("auth-request", "forward-auth", "ext-authz"):
        send("GET", f"/authz/{question}/{{policy}}", 200, **mine, policy="default")
        send("GET", f"/authz/{question}/{{policy}}", 401, token="x", policy="default")
    send("GET", "/v1/sessions/{session_id}", 200, **mine, session_id=other["session_id"])
    send("DELETE", "/v1/sessions/{session_id}", 204, **mine, session_id=other["session_id"])
    send("GET", "/v1/sessions/{session_id}", 200, **mine, session_id=other["session_id"])
    send("DELETE", "/v1/sessions", 204, **mine)
    send("POST", "/v1/logout", 204, {"refresh_token": tokens["refresh_token"]}, **mine)
    again = send("POST", "/v1/login", 200, credentials)
    send("POST", "/v1/logout-all", 204, token=again["access_token"])


def test_administration_responses_match_their_schemas(service, schema):
    boss = sign_in_with_role(service, "boss", "admin")
    for number in range(2):
        boss.post(
            "/v1/accounts",
            {"username": f"user{number}", "email": f"u{number}@example.org", "name": "U"},
            token=boss.access,
        )
    carl = {
        "username": "carl",
        "email": "carl@example.org",
        "name": "Carl",
        "locale": "de",
        "roles": ["admin"],
    }

    def send(method: str, path: str, status: int, **parts):
        case = schema[path][method].Case(
            **parts, **({"media_type": "application/json"} if "body" in parts else {})
        )
        answer = case.call(headers={"Authorization": f"Bearer {boss.access}"})
        assert answer.status_code == status, answer.text
        case.validate_response(answer, checks=CHECKS)
        return answer.json() if answer.content else None

    one = {"path_parameters": {"account_id": send("POST", "/v1/accounts", 201, body=carl)["id"]}}
    for code in ("username_taken", "email_taken"):
        assert send("POST", "/v1/accounts", 409, body=carl)["code"] == code
        carl["username"] = "other"
    page = send("GET", "/v1/accounts", 200, query={"limit": 1, "q": "u", "status": "active"})
    send("GET", "/v1/accounts", 200, query={"cursor": page["next"]})
    send("GET", "/v1/accounts", 422, query={"limit": 0})
    send(
        "GET", "/v1/audit", 200, query={"since": "2026-01-01T00:00:00Z", "event": "account.created"}
    )
    send("GET", "/v1/accounts/{account_id}", 200, **one)
    send("POST", "/v1/accounts/{account_id}/send-reset", 202, **one)
    send("POST", "/v1/accounts/{account_id}/end-sessions", 204, **one)
    send("PATCH", "/v1/accounts/{account_id}", 200, body={"must_change_password": True}, **one)
    send("DELETE", "/v1/accounts/{account_id}", 204, **one)
    send("PATCH", "/v1/accounts/{account_id}", 409, body={"status": "disabled"}, **one)
    send("POST", "/v1/accounts/{account_id}/send-reset", 409, **one)
    send("GET", "/v1/me/export", 200)
    send("DELETE", "/v1/me", 409)


def test_failures_match_their_schemas(make_service):
    """Check problems that have additional members."""
    service = make_service(limit_login="1/minute")
    ann = service.actor()
    schema = schemathesis.openapi.from_dict(build_document(service.app))
    ann.post("/v1/login", {})
    limited = ann.post("/v1/login", {})
    assert limited.status_code == 429
    schema["/v1/login"]["POST"].validate_response(limited)
    service.scalar("UPDATE alembic_version SET version_num = 'older' RETURNING version_num")
    unready = ann.get("/readyz")
    assert unready.status_code == 503
    schema["/readyz"]["GET"].validate_response(unready)


def test_document_lists_every_route_with_its_security(service, schema):
    document = schema.raw_schema
    assert document["openapi"].startswith("3.1")
    described = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    pages = {"/.well-known/change-password"}  # redirects to a page
    routed = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in service.app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule not in pages
        and rule.rule.startswith(
            ("/v1/", "/authz/", "/oauth/", "/.well-known/", "/livez", "/readyz", "/version")
        )
    }
    assert described == routed
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if path.startswith("/oauth/"):
                assert operation["security"] == [{"client": []}, {}]  # or the same in the form
            elif method != "parameters" and "401" in operation["responses"] and path != "/v1/login":
                # Without an access token, a refresh token in the body can still log out.
                alone = [{}] if path in {"/v1/logout", "/v1/logout-all"} else []
                assert operation["security"] in (
                    [{"bearer": []}, *alone],
                    [{"bearer": []}, {"api_key": []}],
                ), (method, path)


EMPTY = {
    "204",
    "POST /oauth/revoke 200",
    "GET /authz/auth-request/{policy} 200",
    "GET /authz/forward-auth/{policy} 200",
}
EMPTY |= {"GET /authz/ext-authz/{policy} 200"}


def test_every_response_has_a_description_and_every_operation_an_id(schema):
    """Check what generated clients need: a schema for each response, a code for each error."""
    names = []
    for path, item in schema.raw_schema["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            names.append(operation["operationId"])
            for status, answer in operation["responses"].items():
                place = f"{method.upper()} {path} {status}"
                assert answer["description"], place
                assert answer.get("content") or {status, place} & EMPTY, place
                assert status < "400" or re.search(r"`\w+`", answer["description"]), place
    assert len(set(names)) == len(names)


def test_poll_errors_are_documented(schema):
    description = schema.raw_schema["paths"]["/oauth/token"]["post"]["responses"]["400"][
        "description"
    ]
    for code in (
        "authorization_pending",
        "slow_down",
        "access_denied",
        "expired_token",
        "invalid_grant",
        "invalid_scope",
    ):
        assert f"`{code}`" in description
