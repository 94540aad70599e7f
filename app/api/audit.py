"""The audit trail, for administrators."""

from __future__ import annotations

from datetime import UTC, datetime

from marshmallow import fields, validate

from app.audit.list_events import AuditPage, list_events
from app.audit.record import Event
from app.principal import Principal
from app.unit_of_work import UnitOfWork
from app.web.auth.credentials import admin, require
from app.web.json_body import Body
from app.web.openapi.blueprint import Blueprint
from app.web.schemas import PageSchema, StrictSchema, Text, Timestamp
from app.web.unit_of_work import reading

blp = Blueprint(
    "audit", __name__, url_prefix="/v1/audit", description="What has happened, for administrators."
)

# What a database can compare with; the ends of Python's own calendar cannot be moved to another time zone.
VALID_YEARS = validate.Range(
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(3000, 1, 1, tzinfo=UTC),
    error="must lie in the years 1970 to 2999",
)


class AuditEventSchema(StrictSchema):
    """One thing that happened. It names accounts by id alone, so that it can stay when an account is erased."""

    id = fields.Integer(required=True)
    at = Timestamp(required=True)
    event = fields.String(required=True)
    account_id = fields.String(
        required=True, allow_none=True, metadata={"description": "to whom it happened"}
    )
    session_id = fields.String(required=True, allow_none=True)
    source = fields.String(
        required=True, allow_none=True, metadata={"description": "from which address"}
    )
    user_agent = fields.String(required=True, allow_none=True)
    request_id = fields.String(required=True, allow_none=True)
    detail = fields.Dict(
        keys=fields.String(),
        required=True,
        metadata={"description": "names and counts; `actor` is the administrator who did it"},
    )


class AuditSchema(StrictSchema):
    """Events, the newest first."""

    items = fields.List(fields.Nested(AuditEventSchema), required=True)
    next = fields.String(required=True, allow_none=True)


class AuditQuerySchema(PageSchema):
    """Which events are wanted; every condition given must hold."""

    account_id = Text(max_length=32, load_default=None)
    event = fields.String(load_default=None, validate=validate.OneOf(list(Event)))
    since = Timestamp(
        load_default=None, validate=VALID_YEARS, metadata={"description": "from then on"}
    )
    until = Timestamp(
        load_default=None, validate=VALID_YEARS, metadata={"description": "before then"}
    )


@blp.route("", methods=["GET"])
@reading
@require(admin)
@blp.query(AuditQuerySchema)
@blp.response(200, AuditSchema)
def get_audit(work: UnitOfWork, _principal: Principal, which: Body) -> AuditPage:
    """What has happened, the newest first."""
    return list_events(work, **which)
