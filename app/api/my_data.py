"""What is held about oneself, and going for good."""

from __future__ import annotations

from marshmallow import fields

from app.api.api_keys import ApiKeySchema
from app.api.audit import AuditEventSchema
from app.api.device_login import DeviceLoginSchema
from app.api.devices import DeviceSchema
from app.api.schemas import ProfileSchema, SessionSchema
from app.authorization.errors import LastAdmin
from app.lifecycle.delete import delete_own_account
from app.lifecycle.export import AccountExport, export_account
from app.principal import Principal
from app.unit_of_work import UnitOfWork
from app.web.auth.credentials import fresh_session, require
from app.web.client_info import get_client_info
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
from app.web.schemas import StrictSchema, Timestamp
from app.web.unit_of_work import reading, writing

blp = Blueprint(
    "my_data",
    __name__,
    url_prefix="/v1/me",
    description="What is held about oneself, and going for good.",
)


class MembershipSchema(StrictSchema):
    """A thing of an application that the account was let in to."""

    resource = fields.String(required=True)
    id = fields.String(required=True)
    level = fields.String(required=True)
    granted_at = Timestamp(required=True)


class LinkSchema(StrictSchema):
    """A link that was mailed or handed out."""

    purpose = fields.String(required=True)
    created_at = Timestamp(required=True)
    expires_at = Timestamp(required=True)
    used_at = Timestamp(required=True, allow_none=True)


class FailureSchema(StrictSchema):
    """How often the password was tried in vain."""

    source = fields.String(
        required=True, allow_none=True, metadata={"description": "null: from everywhere together"}
    )
    count = fields.Integer(required=True)
    last_at = Timestamp(required=True)


class ExportSchema(StrictSchema):
    """Everything that is held about an account but what would open something: no password, no token and no digest of one."""

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
        metadata={"description": "the newest first, at most 10,000"},
    )
    audit_complete = fields.Boolean(required=True)


@blp.route("/export", methods=["GET"])
@reading
@require(fresh_session)
@blp.response(200, ExportSchema)
def get_export(work: UnitOfWork, principal: Principal) -> AccountExport:
    """Everything that is held about the account, in one document."""
    return export_account(work, principal)


@blp.route("", methods=["DELETE"])
@writing
@require(fresh_session)
@document_problems(LastAdmin)
@blp.response(204)
def delete_me(work: UnitOfWork, principal: Principal) -> None:
    """Delete one's own account: all of it ends at once. A mail says until when an administrator can bring it back; then it is erased."""
    delete_own_account(work, principal, get_client_info())
