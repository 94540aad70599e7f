"""Schemas that several blueprints share."""

from __future__ import annotations

from marshmallow import ValidationError, fields, missing, post_dump

from app.authentication.passwords.normalize import MAX_LENGTH, InvalidPassword, normalize_password
from app.web.schemas import Label, StrictSchema, Timestamp


class AccountSummarySchema(StrictSchema):
    """Summary of an account."""

    id = fields.String(required=True)
    username = fields.String(required=True)
    name = fields.String(required=True)
    roles = fields.List(fields.String(), required=True)


class TokensSchema(StrictSchema):
    """The tokens of a session. `refresh_token` is missing when it was set as a cookie."""

    access_token = fields.String(required=True)
    token_type = fields.String(required=True)
    expires_in = fields.Integer(required=True, metadata={"description": "seconds"})
    refresh_token = fields.String()
    refresh_expires_in = fields.Integer(required=True, metadata={"description": "seconds"})
    session_id = fields.String(required=True)
    scope = fields.String(required=True)
    device_token = fields.String(
        metadata={"description": "only if `remember_device` was set; returned once"}
    )
    account = fields.Nested(AccountSummarySchema, required=True)
    resources = fields.Dict(keys=fields.String(), values=fields.String(), required=True)

    @post_dump
    def omit_absent_device_token(self, data: dict[str, object], **_: object) -> dict[str, object]:
        return {
            name: value
            for name, value in data.items()
            if name != "device_token" or value is not None
        }


class ProfileSchema(StrictSchema):
    """An account, as returned to its owner."""

    id = fields.String(required=True)
    username = fields.String(required=True)
    email = fields.String(required=True)
    name = fields.String(required=True)
    locale = fields.String(required=True)
    timezone = fields.String(required=True)
    metadata = fields.Dict(required=True)
    created_at = Timestamp(required=True)
    last_login_at = Timestamp(required=True, allow_none=True)


class SessionSchema(StrictSchema):
    """A session: its device, start and end."""

    id = fields.String(required=True)
    current = fields.Boolean(required=True)
    status = fields.String(
        required=True, metadata={"enum": ["live", "expired", "logged_out", "revoked", "suspicious"]}
    )
    device_name = fields.String(required=True, allow_none=True)
    client_id = fields.String(
        required=True,
        metadata={"description": "id of the client application; `doorward` if none was given"},
    )
    approved_by = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "id of the session that approved it; null for a login with password"
        },
    )
    user_agent = fields.String(required=True)
    address = fields.String(
        required=True, metadata={"description": "IP address that opened the session"}
    )
    last_address = fields.String(
        required=True, metadata={"description": "IP address of the last refresh"}
    )
    created_at = Timestamp(required=True)
    last_used_at = Timestamp(required=True)
    expires_at = Timestamp(
        required=True, metadata={"description": "end of the session unless it is refreshed"}
    )
    ended_at = Timestamp(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True)


class SessionsSchema(StrictSchema):
    """Sessions, newest first."""

    items = fields.List(fields.Nested(SessionSchema), required=True)
    next = fields.String(required=True, allow_none=True)


def build_name_field(*, required: bool = False) -> Label:
    """Build the field of a display name."""
    return Label(max_length=128, required=required)


def build_new_password_field(*, required: bool = False) -> fields.String:
    """Build the field of a new password. Its length is checked with the other password rules."""
    description = "a rejected password returns 422 with `reasons` and `suggestions`"
    default = missing if required else None
    return fields.String(
        required=required,
        load_default=default,
        load_only=True,
        metadata={"format": "password", "description": description},
    )


def build_current_password_field() -> fields.String:
    """Build the field of a password that is verified."""
    return fields.String(
        required=True,
        load_only=True,
        validate=_validate_password_text,
        metadata={"format": "password", "minLength": 1, "maxLength": MAX_LENGTH},
    )


def _validate_password_text(value: str) -> None:
    """Reject text that cannot be a password before hashing it. Raises ValidationError."""
    try:
        normalize_password(value)
    except InvalidPassword as error:
        raise ValidationError(str(error)) from None
