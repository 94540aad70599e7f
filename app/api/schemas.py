"""The shapes that several addresses share."""

from __future__ import annotations

from marshmallow import ValidationError, fields, missing, post_dump

from app.authentication.passwords.normalize import InvalidPassword, normalize_password
from app.web.schemas import Label, StrictSchema, Timestamp


class AccountSummarySchema(StrictSchema):
    """An account in short."""

    id = fields.String(required=True)
    username = fields.String(required=True)
    name = fields.String(required=True)
    roles = fields.List(fields.String(), required=True)


class TokensSchema(StrictSchema):
    """Both tokens of a session; the refresh token is not here where it is in the cookie."""

    access_token = fields.String(required=True)
    token_type = fields.String(required=True)
    expires_in = fields.Integer(required=True, metadata={"description": "seconds"})
    refresh_token = fields.String()
    refresh_expires_in = fields.Integer(required=True, metadata={"description": "seconds"})
    session_id = fields.String(required=True)
    scope = fields.String(required=True)
    device_token = fields.String(
        metadata={"description": "only where remember_device asked for it, and only this once"}
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
    """An account as its owner sees it."""

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
    """One login: from which device, when, and until when."""

    id = fields.String(required=True)
    current = fields.Boolean(required=True)
    status = fields.String(
        required=True, metadata={"enum": ["live", "expired", "logged_out", "revoked", "suspicious"]}
    )
    device_name = fields.String(required=True, allow_none=True)
    client_id = fields.String(
        required=True,
        metadata={"description": "the program it is of; `doorward` where none was named"},
    )
    approved_by = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "the session from which it was let in; null: by its password"},
    )
    user_agent = fields.String(required=True)
    address = fields.String(required=True, metadata={"description": "where it was opened from"})
    last_address = fields.String(
        required=True, metadata={"description": "where it was last refreshed from"}
    )
    created_at = Timestamp(required=True)
    last_used_at = Timestamp(required=True)
    expires_at = Timestamp(
        required=True, metadata={"description": "when it ends if it is not refreshed"}
    )
    ended_at = Timestamp(required=True, allow_none=True)
    reason = fields.String(required=True, allow_none=True)


class SessionsSchema(StrictSchema):
    """Sessions, newest first."""

    items = fields.List(fields.Nested(SessionSchema), required=True)
    next = fields.String(required=True, allow_none=True)


def build_name_field(*, required: bool = False) -> Label:
    """How a person is called."""
    return Label(max_length=128, required=required)


def build_new_password_field(*, required: bool = False) -> fields.String:
    """A password to come. Its length is judged with all the rest of it, so that whoever is refused is told why and offered others."""
    told = "one that is refused is answered 422 with `reasons` and `suggestions`"
    default = missing if required else None
    return fields.String(
        required=required,
        load_default=default,
        load_only=True,
        metadata={"format": "password", "description": told},
    )


def validate_password_text(value: str) -> None:
    """What can be no password of anybody is said to be so, before anything costly is done. Raises ValidationError."""
    try:
        normalize_password(value)
    except InvalidPassword as error:
        raise ValidationError(str(error)) from None
