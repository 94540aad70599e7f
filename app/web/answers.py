"""Responses as plain values, built the same way for Flask and for the event loop in front of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from app.errors import Problem, Unauthenticated

if TYPE_CHECKING:
    from app.principal import Principal

HSTS = "max-age=63072000; includeSubDomains"
CSP = "default-src 'none'; frame-ancestors 'none'"
REQUEST_ID_HEADER = "X-Request-Id"
JSON_TYPE = "application/json"
PROBLEM_TYPE = "application/problem+json"
TIMESTAMP_FORMAT = "%Y-%m-%dT%H:%M:%SZ"  # RFC 3339, in UTC

# Headers of every response, which can set another value.
STANDARD_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Strict-Transport-Security": HSTS,
}

_encode = json.JSONEncoder(separators=(",", ":")).encode


class Headers(Protocol):
    """Headers with unique names: a dict, or those of a Flask response."""

    def setdefault(self, key: str, value: str, /) -> object: ...
    def __setitem__(self, key: str, value: str, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A response. `code` is that of its problem, if it is one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""
    code: str | None = None


def dump_json(value: object) -> str:
    """Serialize a response body on one line, with a newline at its end for terminals."""
    return _encode(value) + "\n"


def build_json_answer(value: object, status: int = HTTPStatus.OK) -> Answer:
    body = dump_json(value)
    return Answer(status, {"Content-Type": JSON_TYPE, "Content-Length": str(len(body))}, body)


def build_problem_answer(problem: Problem, request_id: str) -> Answer:
    """Render a problem as an RFC 9457 document."""
    document: dict[str, object] = {
        "type": problem.type_uri or f"urn:doorward:problem:{problem.code}",
        "title": problem.title,
        "status": problem.status,
        "code": problem.code,
        "request_id": request_id,
    }
    if problem.detail:
        document["detail"] = problem.detail
    if problem.errors:
        document["errors"] = problem.errors
    document |= problem.members
    body = dump_json(document)
    headers = {"Content-Type": PROBLEM_TYPE, "Content-Length": str(len(body)), **problem.headers}
    if problem.status == Unauthenticated.status:
        # RFC 9110 section 11.6.1 requires a challenge with every 401.
        headers.setdefault("WWW-Authenticate", 'Bearer realm="doorward"')
    return Answer(problem.status, headers, body, problem.code)


def build_whoami_answer(principal: Principal) -> Answer:
    """Render a principal as its own client sees it."""
    expires = principal.expires_at
    document: dict[str, object] = {
        "account_id": principal.account_id,
        "username": principal.username,
        "kind": principal.kind.value,
        "scopes": principal.scopes,
        "roles": principal.roles,
    }
    if principal.session_id:
        document["session_id"] = principal.session_id
    if principal.key_id:
        document["key_id"] = principal.key_id
    document["expires_at"] = None if expires is None else expires.strftime(TIMESTAMP_FORMAT)
    return build_json_answer(document)


def add_standard_headers(headers: Headers, request_id: str) -> None:
    """Add the headers of every response."""
    headers[REQUEST_ID_HEADER] = request_id
    for name, value in STANDARD_HEADERS.items():
        headers.setdefault(name, value)
