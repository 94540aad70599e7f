"""Endpoints to export and delete the caller's account."""

from __future__ import annotations

from marshmallow import fields

from app.api.api_keys import ApiKeySchema
from app.api.audit import AuditEventSchema
from app.api.device_login_schemas import DeviceLoginSchema
from app.api.devices import DeviceSchema
from app.api.schemas import ProfileSchema, SessionSchema
from app.authorization.errors import LastAdmin
from app.lifecycle.delete import delete_own_account
from app.lifecycle.export import AccountExport, export_account
from app.principal import Principal
from app.unit_of_work import UnitOfWork
from app.web.auth.requirements import recent_authentication, require, session
from app.web.client_info import get_client_info
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
from app.web.schemas import StrictSchema, Timestamp
from app.web.unit_of_work import reading, writing

blp = Blueprint(
    "my_data", __name__, url_prefix="/v1/me", description="Export and deletion of your account."
)


class MembershipSchema(StrictSchema):
    """A membership of the account in a resource."""

    resource = fields.String(required=True)
    id = fields.String(required=True)
    level = fields.String(required=True)
    granted_at = Timestamp(required=True)


class LinkSchema(StrictSchema):
    """A link that was sent to you."""

    purpose = fields.String(required=True)
    created_at = Timestamp(required=True)
    expires_at = Timestamp(required=True)
    used_at = Timestamp(required=True, allow_none=True)


class FailureSchema(StrictSchema):
    """Failed password attempts."""

    source = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "IP address; null for all sources together"},
    )
    count = fields.Integer(required=True)
    last_at = Timestamp(required=True)


class ExportSchema(StrictSchema):
    """All data about an account, except passwords, tokens and their digests."""

    exported_at = Timestamp(required=True)
    account = fields.Nested(ProfileSchema, required=True)
    status = fields.String(required=True)
    must_change_password = fields.Boolean(required=True)
    roles = fields.List(fields.String(), required=True)
    memberships = fields.List(fields.Nested(MembershipSchema), required=True)
    sessions = fields.List(fields.Nested(SessionSchema), required=True)
    login_sessions = fields.List(fields.Nested(DeviceLoginSchema), required=True)
    devices = fields.List(fields.Nested(DeviceSchema), required=True)
    api_keys = fields.List(fields.Nested(ApiKeySchema), required=True)
    links = fields.List(fields.Nested(LinkSchema), required=True)
    failed_attempts = fields.List(fields.Nested(FailureSchema), required=True)
    audit = fields.List(
        fields.Nested(AuditEventSchema),
        required=True,
        metadata={"description": "newest first, at most 10,000"},
    )
    audit_complete = fields.Boolean(required=True)


@blp.route("/export", methods=["GET"])
@reading
@require(session & recent_authentication)
@blp.response(200, ExportSchema)
def get_export(work: UnitOfWork, principal: Principal) -> AccountExport:
    """Export all data about your account."""
    return export_account(work, principal)


@blp.route("", methods=["DELETE"])
@writing
@require(session & recent_authentication)
@document_problems(LastAdmin)
@blp.response(204)
def delete_me(work: UnitOfWork, principal: Principal) -> None:
    """Delete your account.

    All access is revoked at once. An email tells you until when an administrator can restore the
    account; then it is erased.
    """
    delete_own_account(work, principal, get_client_info())
