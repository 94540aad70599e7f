"""Liveness, readiness and version."""

from __future__ import annotations

from marshmallow import fields

from app.settings import VERSION
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
from app.web.readiness import NotReady, require_readiness
from app.web.routes import accept_any_host
from app.web.schemas import StrictSchema
from app.web.unit_of_work import get_unit_of_work_factory

blp = Blueprint("health", __name__, description="Liveness, readiness and version.")


class AliveSchema(StrictSchema):
    """The process is alive."""

    status = fields.Constant("alive", required=True)


class ReadySchema(StrictSchema):
    """The process is ready."""

    status = fields.Constant("ready", required=True)
    checks = fields.Dict(keys=fields.String(), values=fields.String(), required=True)


class VersionSchema(StrictSchema):
    """The running version."""

    name = fields.Constant("doorward", required=True)
    version = fields.String(required=True)


@blp.route("/livez", methods=["GET"])
@accept_any_host
@blp.response(200, AliveSchema)
def get_livez() -> dict[str, str]:
    """Check that the process responds. No dependency is checked."""
    return {}


@blp.route("/readyz", methods=["GET"])
@accept_any_host
@document_problems(NotReady)
@blp.response(200, ReadySchema)
def get_readyz() -> dict[str, object]:
    """Check database, schema, clock and signing keys. Fails while the process shuts down."""
    return {"checks": require_readiness(get_unit_of_work_factory())}


@blp.route("/version", methods=["GET"])
@blp.response(200, VersionSchema)
def get_version() -> dict[str, str]:
    """Return the version of the service."""
    return {"version": VERSION}
