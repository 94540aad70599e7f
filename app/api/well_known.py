"""Public keys for verifying tokens."""

from __future__ import annotations

import hashlib

from flask import Response, json, request
from marshmallow import Schema, fields

from app.signing_keys.models import SigningKeyPurpose
from app.unit_of_work import UnitOfWork
from app.web.openapi.blueprint import Blueprint
from app.web.unit_of_work import reading

blp = Blueprint(
    "well_known",
    __name__,
    url_prefix="/.well-known",
    description="Public keys for applications that verify tokens themselves.",
)


class JwksSchema(Schema):
    """A JSON Web Key Set (RFC 7517 section 5)."""

    keys = fields.List(fields.Dict(keys=fields.String(), values=fields.String()), required=True)


@blp.route("/jwks.json", methods=["GET"])
@reading
@blp.response(200, JwksSchema)
def get_jwks(work: UnitOfWork) -> Response:
    """Get the public keys for access tokens. Cache them for max-age."""
    return _build_response(work, SigningKeyPurpose.ACCESS)


@blp.route("/identity-jwks.json", methods=["GET"])
@reading
@blp.response(200, JwksSchema)
def get_identity_jwks(work: UnitOfWork) -> Response:
    """Get the public keys for X-Auth-Identity.

    Cache them for max-age. They do not verify access tokens.
    """
    return _build_response(work, SigningKeyPurpose.IDENTITY)


def _build_response(work: UnitOfWork, purpose: SigningKeyPurpose) -> Response:
    text = json.dumps({"keys": work.signing_keys.list_public_jwks(purpose)}, sort_keys=True)
    response = Response(text, content_type="application/json")
    response.cache_control.public = True
    response.cache_control.max_age = int(work.settings.jwks_max_age.total_seconds())
    response.set_etag(hashlib.sha256(text.encode()).hexdigest()[:32])
    response.make_conditional(request)
    return response
