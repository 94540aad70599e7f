"""Endpoint for the audit log."""

from __future__ import annotations

from datetime import UTC, datetime

from marshmallow import fields, validate

from app.audit.list_events import AuditPage, list_events
from app.audit.record import Event
from app.principal import Principal
from app.unit_of_work import UnitOfWork
from app.web.auth.requirements import admin, require
from app.web.json_body import Body
from app.web.openapi.blueprint import Blueprint
from app.web.schemas import PageSchema, StrictSchema, Text, Timestamp
from app.web.unit_of_work import reading

blp = Blueprint(
    "audit", __name__, url_prefix="/v1/audit", description="The audit log, for administrators."
)

# Times near the limits of Python's calendar overflow when converted to another time zone.
VALID_YEARS = validate.Range(
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(3000, 1, 1, tzinfo=UTC),
    error="must lie in the years 1970 to 2999",
)


class AuditEventSchema(StrictSchema):
    """An audit event.

    It refers to accounts by id only, so that it can outlive an erased account.
    """

    id = fields.Integer(required=True)
    at = Timestamp(required=True)
    event = fields.String(required=True)
    account_id = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "the account that the event is about"},
    )
    session_id = fields.String(required=True, allow_none=True)
    source = fields.String(
        required=True, allow_none=True, metadata={"description": "IP address of the request"}
    )
    user_agent = fields.String(required=True, allow_none=True)
    request_id = fields.String(required=True, allow_none=True)
    detail = fields.Dict(
        keys=fields.String(),
        required=True,
        metadata={"description": "names and counts; `actor` is the account or API key that acted"},
    )


class AuditSchema(StrictSchema):
    """A page of audit events, newest first."""

    items = fields.List(fields.Nested(AuditEventSchema), required=True)
    next = fields.String(required=True, allow_none=True)


class AuditQuerySchema(PageSchema):
    """Filters for audit events; an event must match all of them."""

    account_id = Text(max_length=32, load_default=None)
    event = fields.String(load_default=None, validate=validate.OneOf(list(Event)))
    since = Timestamp(
        load_default=None,
        validate=VALID_YEARS,
        metadata={"description": "earliest time, inclusive"},
    )
    until = Timestamp(
        load_default=None, validate=VALID_YEARS, metadata={"description": "latest time, exclusive"}
    )


@blp.route("", methods=["GET"])
@reading
@require(admin)
@blp.query(AuditQuerySchema)
@blp.response(200, AuditSchema)
def get_audit(work: UnitOfWork, _principal: Principal, which: Body) -> AuditPage:
    """List audit events, newest first."""
    return list_events(work, **which)
