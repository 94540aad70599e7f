"""May this pass? What gateways ask before they let a request through to an upstream."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response

from app.principal import Principal
from app.unit_of_work import UnitOfWork
from app.verification.identity_headers import IDENTITY_HEADERS, build_identity_headers
from app.web.auth.requirements import require
from app.web.gateway_requests import PREFIX, complete_gateway_response, policy_in_path
from app.web.openapi.annotations import document_operation
from app.web.openapi.blueprint import Blueprint
from app.web.unit_of_work import reading

blp = Blueprint(
    "authz",
    __name__,
    url_prefix=PREFIX,
    description="What gateways ask: 200, 401, 403, 429 or 503, and who it is.",
)
blp.after_request(complete_gateway_response)

Handler = Callable[..., Response]


def document_identity_headers(handler: Handler) -> Handler:
    """Note on a handler that who asks is told by headers."""
    headers = {name: {"schema": {"type": "string"}, "required": True} for name in IDENTITY_HEADERS}
    description = (
        "It may pass. The body is empty; who asks is in the headers, every one there each time."
    )
    return document_operation(
        handler, responses={"200": {"description": description, "headers": headers}}
    )


@blp.route("/auth-request/<policy>", methods=["GET"])
@reading
@require(policy_in_path)
@document_identity_headers
@blp.response(200)
def get_auth_request(work: UnitOfWork, principal: Principal, policy: str) -> Response:
    """Nginx (auth_request). Any method; without a policy it is `default`. Query and body are never read."""
    return _build_response(build_identity_headers(work, principal, policy=policy))


@blp.route("/forward-auth/<policy>", methods=["GET"])
@reading
@require(policy_in_path)
@document_identity_headers
@blp.response(200)
def get_forward_auth(work: UnitOfWork, principal: Principal, policy: str) -> Response:
    """Caddy (forward_auth) and Traefik (ForwardAuth). Any method; without a policy it is `default`. Query and body are never read."""
    return _build_response(build_identity_headers(work, principal, policy=policy))


@blp.route("/ext-authz/<policy>", methods=["GET"])
@reading
@require(policy_in_path)
@document_identity_headers
@blp.response(200)
def get_ext_authz(work: UnitOfWork, principal: Principal, policy: str) -> Response:
    """Envoy (ext_authz over HTTP). Any method, and any path may follow the policy. Query and body are never read."""
    return _build_response(build_identity_headers(work, principal, policy=policy))


def _build_response(headers: dict[str, str]) -> Response:
    response = Response(status=200, headers=headers)
    del response.headers["Content-Type"]
    return response
