"""Credential checks for gateways: nginx, Caddy, Traefik and Envoy."""

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
    description="Credential checks for gateways. Answers 200, 401, 403, 429 or 503.",
)
blp.after_request(complete_gateway_response)

Handler = Callable[..., Response]


def document_identity_headers(handler: Handler) -> Handler:
    """Describe the identity headers of a 200 response in the OpenAPI document."""
    headers = {name: {"schema": {"type": "string"}, "required": True} for name in IDENTITY_HEADERS}
    description = "The request may pass. All identity headers are present; the body is empty."
    return document_operation(
        handler, responses={"200": {"description": description, "headers": headers}}
    )


@blp.route("/auth-request/<policy>", methods=["GET"])
@reading
@require(policy_in_path)
@document_identity_headers
@blp.response(200)
def get_auth_request(work: UnitOfWork, principal: Principal, policy: str) -> Response:
    """Check a request for nginx (auth_request).

    Accepts any method and ignores query and body. Without a policy in the path, `default` applies.
    """
    return _build_response(work, principal, policy)


@blp.route("/forward-auth/<policy>", methods=["GET"])
@reading
@require(policy_in_path)
@document_identity_headers
@blp.response(200)
def get_forward_auth(work: UnitOfWork, principal: Principal, policy: str) -> Response:
    """Check a request for Caddy (forward_auth) or Traefik (ForwardAuth).

    Accepts any method and ignores query and body. Without a policy in the path, `default` applies.
    """
    return _build_response(work, principal, policy)


@blp.route("/ext-authz/<policy>", methods=["GET"])
@reading
@require(policy_in_path)
@document_identity_headers
@blp.response(200)
def get_ext_authz(work: UnitOfWork, principal: Principal, policy: str) -> Response:
    """Check a request for Envoy (ext_authz over HTTP).

    Accepts any method, and any path after the policy; ignores query and body.
    """
    return _build_response(work, principal, policy)


def _build_response(work: UnitOfWork, principal: Principal, policy: str) -> Response:
    headers = build_identity_headers(
        work.settings, work.signing_keys, principal, work.now, policy=policy
    )
    response = Response(status=200, headers=headers)
    del response.headers["Content-Type"]
    return response
