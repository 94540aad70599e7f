"""How a gateway asks: about a request that is not ours, in whatever method, under whatever name, with whatever else it passes on.

So the request is made plain before anything looks at it: nothing of it but its path and its headers is ever read. And a gateway
knows few answers (nginx takes 2xx as yes, 401 and 403 as no, the rest as an error): no other leaves.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from flask import Response, request

from app.adapters import logs
from app.authorization.errors import InsufficientScope
from app.errors import Forbidden, Unavailable
from app.settings import NAME_PATTERN
from app.verification.identity_headers import IDENTITY_HEADERS
from app.verification.policies import DEFAULT, UnknownPolicy, get_policy, has_role, has_scopes
from app.web.auth.requirements import Requirement, credential
from app.web.problems import render_problem

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from app.principal import Principal
    from app.settings import Settings
    from app.unit_of_work import UnitOfWork

PREFIX = "/authz"
ROUTES_WITH_DEFAULT_POLICY = frozenset(
    {"auth-request", "forward-auth"}
)  # Envoy appends the path it was asked for, so there a policy must be named
ROUTE_WITH_PATH = "ext-authz"
INVALID_POLICY = "-"  # no policy can have that name
ALLOWED_STATUSES = frozenset({200, 401, 403, 429, 503})
ERROR_HEADER = "X-Auth-Error"
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

log = logs.get_logger("questions")


def normalize_gateway_requests(app: WSGIApplication, settings: Settings) -> WSGIApplication:
    """The application, to which a gateway's question comes without method, name, query and body of the request it is about."""

    def asked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if not is_gateway_request(path):
            return app(environ, start_response)
        return app(
            _build_environ(environ, normalize_path(path), host=settings.trusted_hosts[0]),
            start_response,
        )

    return asked


def is_gateway_request(path: str) -> bool:
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def normalize_path(path: str) -> str:
    """The address that is meant. One that names no policy asks for a policy that cannot be, which is said in the log."""
    _, _, shape, rest = f"{path}//".split("/", 3)
    policy, _, follows = rest.partition("/")
    if shape in ROUTES_WITH_DEFAULT_POLICY:
        policy = policy or DEFAULT
    meant = shape == ROUTE_WITH_PATH or (
        shape in ROUTES_WITH_DEFAULT_POLICY and not follows.strip("/")
    )
    return (
        f"{PREFIX}/{shape}/{policy}"
        if meant and NAME_PATTERN.fullmatch(policy)
        else f"{PREFIX}/auth-request/{INVALID_POLICY}"
    )


def _verify_by_policy(work: UnitOfWork) -> Principal:
    """Any valid credential that the policy in the path lets through. Raises UnknownPolicy before anything else is looked at."""
    policy = get_policy(work.settings, (request.view_args or {})["policy"])
    principal = credential.check(work)
    if not has_scopes(policy, principal):
        raise InsufficientScope(" ".join(policy.scopes))
    if not has_role(policy, principal):
        raise Forbidden(
            "This needs a role that the account does not have, or that a key cannot have."
        )
    return principal


policy_in_path = Requirement(
    _verify_by_policy, credential.security, (*credential.problems, UnknownPolicy)
)


def complete_gateway_response(response: Response) -> Response:
    """The answer as a gateway gets it: one of five, with every identity header, so that none of the caller's own is left standing."""
    if response.status_code not in ALLOWED_STATUSES:
        log.error("no answer for a gateway", status=response.status_code)
        response = render_problem(Unavailable())
    for name in IDENTITY_HEADERS:
        response.headers.setdefault(name, "")
    if response.is_json:
        response.headers[ERROR_HEADER] = response.get_json()["code"]
    response.headers["Vary"] = "Authorization, X-API-Key, Cookie"
    return response


def _build_environ(environ: WSGIEnvironment, path: str, *, host: str) -> WSGIEnvironment:
    method = "HEAD" if environ["REQUEST_METHOD"] == "HEAD" else "GET"
    changed = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "HTTP_HOST": host,
        "wsgi.input": io.BytesIO(),
    }
    return {
        name: value for name, value in environ.items() if name not in REMOVED_VARIABLES
    } | changed
