"""Requests of gateways under /authz.

A gateway forwards the method, host, query and headers of the request that it asks about. Everything
but the path and the credential headers is removed before the application sees it. Responses have
one of five statuses, because nginx accepts 2xx, denies on 401 and 403, and treats every other
status as an error.
"""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

from flask import Response, request

from app.adapters import logs
from app.errors import Unavailable
from app.settings import NAME_PATTERN
from app.verification.identity_headers import IDENTITY_HEADERS
from app.verification.policies import DEFAULT, UnknownPolicy, get_policy, require_policy
from app.web.auth.requirements import Requirement, credential
from app.web.problems import render_problem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from app.principal import Principal
    from app.settings import Settings
    from app.unit_of_work import UnitOfWork
    from app.web.answers import Headers

PREFIX = "/authz"
ROUTES_WITH_DEFAULT_POLICY = frozenset({"auth-request", "forward-auth"})
# Envoy appends the path of the original request, so here the policy is mandatory.
ROUTE_WITH_PATH = "ext-authz"
INVALID_POLICY = "-"  # not a valid policy name
ALLOWED_STATUSES = frozenset({200, 401, 403, 429, 503})
ERROR_HEADER = "X-Auth-Error"
VARY = "Authorization, X-API-Key, Cookie"
REMOVED_VARIABLES = frozenset(
    {
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "HTTP_TRANSFER_ENCODING",
        "HTTP_COOKIE",
        "RAW_URI",
        "REQUEST_URI",
    }
)

log = logs.get_logger("gateways")


def normalize_gateway_requests(app: WSGIApplication, settings: Settings) -> WSGIApplication:
    """Return WSGI middleware that removes method, host, query and body of the original request."""

    def middleware(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if not is_gateway_request(path):
            return app(environ, start_response)
        return app(
            _build_environ(environ, normalize_path(path), host=settings.trusted_hosts[0]),
            start_response,
        )

    return middleware


def is_gateway_request(path: str) -> bool:
    return path == PREFIX or path.startswith(f"{PREFIX}/")


@lru_cache(maxsize=1024)
def normalize_path(path: str) -> str:
    """Return the route for a path.

    A path without a valid policy gets the policy `-`, which is logged as unknown.
    """
    _, _, route, rest = f"{path}//".split("/", 3)
    policy, _, suffix = rest.partition("/")
    if route in ROUTES_WITH_DEFAULT_POLICY:
        policy = policy or DEFAULT
    is_known = route == ROUTE_WITH_PATH or (
        route in ROUTES_WITH_DEFAULT_POLICY and not suffix.strip("/")
    )
    return (
        f"{PREFIX}/{route}/{policy}"
        if is_known and NAME_PATTERN.fullmatch(policy)
        else f"{PREFIX}/auth-request/{INVALID_POLICY}"
    )


def _verify_by_policy(work: UnitOfWork) -> Principal:
    """Return the principal if it satisfies the policy in the path.

    Raises UnknownPolicy before it looks at the credential.
    """
    policy = get_policy(work.settings, (request.view_args or {})["policy"])
    principal = credential.check(work)
    require_policy(policy, principal)
    return principal


# A valid access token or API key that satisfies the policy in the path.
policy_in_path = Requirement(
    _verify_by_policy, credential.security, (*credential.problems, UnknownPolicy)
)


def complete_gateway_response(response: Response) -> Response:
    """Restrict the status, and set every identity header."""
    if response.status_code not in ALLOWED_STATUSES:
        log.error("status not allowed for gateways", status=response.status_code)
        response = render_problem(Unavailable())
    code = response.get_json()["code"] if response.is_json else None
    add_gateway_headers(response.headers, code)
    return response


def add_gateway_headers(headers: Headers, code: str | None) -> None:
    """Set every identity header, and the code of a problem.

    Gateways copy the headers to the upstream request, where they overwrite those of the caller.
    """
    for name in IDENTITY_HEADERS:
        headers.setdefault(name, "")
    if code is not None:
        headers[ERROR_HEADER] = code
    headers["Vary"] = VARY


def _build_environ(environ: WSGIEnvironment, path: str, *, host: str) -> WSGIEnvironment:
    method = "HEAD" if environ["REQUEST_METHOD"] == "HEAD" else "GET"
    replaced = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "HTTP_HOST": host,
        "wsgi.input": io.BytesIO(),
    }
    return {
        name: value for name, value in environ.items() if name not in REMOVED_VARIABLES
    } | replaced
