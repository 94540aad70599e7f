"""Metadata of the issuer, so that clients need only its URL."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Response
from marshmallow import fields

from app.authorization.rights import OWN_SCOPES
from app.errors import NotFound
from app.oauth.tokens import GRANTS
from app.settings import DocsMode, Settings
from app.unit_of_work import UnitOfWork
from app.web.answers import dump_json
from app.web.caching import build_cacheable_response
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
from app.web.schemas import StrictSchema
from app.web.unit_of_work import reading

blp = Blueprint(
    "discovery",
    __name__,
    url_prefix="/.well-known",
    description="Metadata of this issuer for OAuth clients.",
)

SECRET_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]


class MetadataSchema(StrictSchema):
    """Metadata of the authorization server (RFC 8414 section 2, RFC 8628 section 4)."""

    issuer = fields.String(required=True)
    token_endpoint = fields.String(required=True)
    device_authorization_endpoint = fields.String(required=True)
    introspection_endpoint = fields.String(required=True)
    revocation_endpoint = fields.String(required=True)
    jwks_uri = fields.String(required=True)
    grant_types_supported = fields.List(fields.String(), required=True)
    response_types_supported = fields.List(fields.String(), required=True)
    token_endpoint_auth_methods_supported = fields.List(fields.String(), required=True)
    introspection_endpoint_auth_methods_supported = fields.List(fields.String(), required=True)
    revocation_endpoint_auth_methods_supported = fields.List(fields.String(), required=True)
    scopes_supported = fields.List(fields.String(), required=True)
    service_documentation = fields.String()


@blp.route("/oauth-authorization-server", methods=["GET"])
@reading
@blp.response(200, MetadataSchema)
def get_metadata(work: UnitOfWork) -> Response:
    """Get the metadata of the issuer (RFC 8414)."""
    return build_cacheable_response(
        dump_json(_build_metadata(work.settings)),
        max_age=int(work.settings.jwks_max_age.total_seconds()),
        public=True,
    )


@blp.route("/openid-configuration", methods=["GET"])
@reading
@blp.response(200, MetadataSchema)
def get_configuration(work: UnitOfWork) -> Response:
    """Get the same document where older clients look for it."""
    return build_cacheable_response(
        dump_json(_build_metadata(work.settings)),
        max_age=int(work.settings.jwks_max_age.total_seconds()),
        public=True,
    )


@blp.route("/oauth-authorization-server/<path:issuer_path>", methods=["GET"])
@reading
@document_problems(NotFound)
@blp.response(200, MetadataSchema)
def get_metadata_of_path(work: UnitOfWork, issuer_path: str) -> Response:
    """Get the same document for an issuer with a path (RFC 8414 section 3.1)."""
    return _build_response_of_path(work, issuer_path)


@blp.route("/openid-configuration/<path:issuer_path>", methods=["GET"])
@reading
@document_problems(NotFound)
@blp.response(200, MetadataSchema)
def get_configuration_of_path(work: UnitOfWork, issuer_path: str) -> Response:
    """Get the same document for an issuer with a path (RFC 8414 section 5)."""
    return _build_response_of_path(work, issuer_path)


def _build_response_of_path(work: UnitOfWork, issuer_path: str) -> Response:
    if issuer_path != urlsplit(work.settings.issuer).path.strip("/"):
        raise NotFound
    return build_cacheable_response(
        dump_json(_build_metadata(work.settings)),
        max_age=int(work.settings.jwks_max_age.total_seconds()),
        public=True,
    )


def _build_metadata(settings: Settings) -> dict[str, object]:
    """Build the metadata from the settings, independently of the request."""
    at = settings.public_url
    found: dict[str, object] = {
        "issuer": settings.issuer,
        "token_endpoint": f"{at}/oauth/token",
        "device_authorization_endpoint": f"{at}/oauth/device_authorization",
        "introspection_endpoint": f"{at}/oauth/introspect",
        "revocation_endpoint": f"{at}/oauth/revoke",
        "jwks_uri": f"{at}/.well-known/jwks.json",
        "grant_types_supported": list(GRANTS),
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": [*SECRET_AUTH_METHODS, "none"],
        "introspection_endpoint_auth_methods_supported": SECRET_AUTH_METHODS,
        "revocation_endpoint_auth_methods_supported": [*SECRET_AUTH_METHODS, "none"],
        "scopes_supported": sorted(
            {scope for scopes in settings.roles.values() for scope in scopes} | set(OWN_SCOPES)
        ),
    }
    return found | (
        {"service_documentation": f"{at}/docs"} if settings.docs is DocsMode.PUBLIC else {}
    )
