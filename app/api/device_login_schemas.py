"""Request and response bodies of device logins."""

from __future__ import annotations

from marshmallow import fields, validate

from app.device_login.show import VISIBLE_STATES
from app.web.schemas import (
    Label,
    PageSchema,
    ScopeList,
    SecretText,
    StrictInteger,
    StrictSchema,
    Text,
    Timestamp,
)


class StartDeviceLoginSchema(StrictSchema):
    """A device login request. All values are shown to the user as unverified."""

    client_name = Label(
        max_length=64,
        required=True,
        metadata={"description": "name of the program, as users know it", "example": "backup"},
    )
    client_id = Text(
        max_length=32,
        load_default=None,
        metadata={"description": "one of `DOORWARD_CLIENTS`; defaults to `doorward`"},
    )
    hostname = Label(
        max_length=64,
        load_default=None,
        metadata={"description": "name of the requesting device", "example": "attic"},
    )
    login_message = Label(
        max_length=200,
        load_default=None,
        metadata={
            "description": "reason for the request, shown on both devices",
            "example": "nightly backup",
        },
    )
    scope = ScopeList(
        load_default=None,
        metadata={
            "description": "requested scopes, separated by spaces; defaults to all available scopes"
        },
    )
    expires_in = StrictInteger(
        minimum=60,
        maximum=365 * 86400,
        load_default=None,
        metadata={
            "description": "requested session length in seconds; same limits as for `/v1/login`"
        },
    )
    username = Text(
        max_length=256,
        load_default=None,
        metadata={"description": "username or email address of the only account that may approve"},
    )


class StartedDeviceLoginSchema(StrictSchema):
    """The codes of a started device login, and how to poll."""

    session_id = fields.String(
        required=True, metadata={"description": "ID of the future session; not secret"}
    )
    device_code = fields.String(
        required=True, metadata={"description": "secret with which the device polls `/oauth/token`"}
    )
    user_code = fields.String(
        required=True,
        metadata={
            "description": "code for the user to enter; case, dashes and spaces are ignored",
            "example": "WDJB-MJHT",
        },
    )
    verification_uri = fields.String(
        required=True, metadata={"example": "https://auth.example.org/login/activate"}
    )
    verification_uri_complete = fields.String(
        required=True,
        metadata={
            "description": "the same URI with the code filled in; opening it approves nothing"
        },
    )
    expires_in = fields.Integer(
        required=True, metadata={"description": "lifetime of the codes in seconds", "example": 600}
    )
    interval = fields.Integer(
        required=True, metadata={"description": "seconds between polls", "example": 5}
    )
    login_message = fields.String(required=True, allow_none=True)
    check_phrase = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "words to show on both devices",
            "example": "safeness hangout flyer",
        },
    )


class ActingSessionSchema(StrictSchema):
    """The session that claimed or decided a request, and its IP address."""

    session_id = fields.String(required=True)
    address = fields.String(required=True)
    device = fields.String(required=True)


class DeviceLoginSchema(StrictSchema):
    """A device login request and its current state."""

    id = fields.String(
        required=True,
        metadata={"description": "ID of the request, and of the session that it becomes"},
    )
    state = fields.String(
        required=True, metadata={"enum": list(VISIBLE_STATES), "example": "claimed"}
    )
    client_id = fields.String(required=True)
    client_name = fields.String(
        required=True,
        metadata={
            "description": "name configured in `DOORWARD_CLIENTS`, or as reported by the device"
        },
    )
    hostname = fields.String(
        required=True, allow_none=True, metadata={"description": "as reported by the device"}
    )
    login_message = fields.String(
        required=True, allow_none=True, metadata={"description": "as reported by the device"}
    )
    check_phrase = fields.String(required=True, allow_none=True)
    scope = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "requested scopes; null requests everything"},
    )
    granted_scope = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "approved scopes; null grants everything the account may do"},
    )
    expires_in = fields.Integer(
        required=True,
        allow_none=True,
        metadata={"description": "requested session length in seconds; null is the default length"},
    )
    address = fields.String(
        required=True, metadata={"description": "IP address of the requesting device"}
    )
    user_agent = fields.String(
        required=True, metadata={"description": "user agent of the requesting device"}
    )
    account_id = fields.String(
        required=True, allow_none=True, metadata={"description": "account that claimed the request"}
    )
    created_at = Timestamp(required=True)
    expires_at = Timestamp(
        required=True,
        metadata={"description": "when approval and redemption are no longer possible"},
    )
    claimed_at = Timestamp(required=True, allow_none=True)
    claimed_with = fields.Nested(ActingSessionSchema, required=True, allow_none=True)
    decided_at = Timestamp(required=True, allow_none=True)
    decided_with = fields.Nested(ActingSessionSchema, required=True, allow_none=True)
    redeemed_at = Timestamp(required=True, allow_none=True)
    ended_at = Timestamp(required=True, allow_none=True)


class DeviceLoginsSchema(StrictSchema):
    """Device login requests, newest first."""

    items = fields.List(fields.Nested(DeviceLoginSchema), required=True)
    next = fields.String(required=True, allow_none=True)


class DeviceLoginQuerySchema(PageSchema):
    """Filters of the list."""

    state = fields.String(load_default=None, validate=validate.OneOf(list(VISIBLE_STATES)))
    account_id = Text(
        max_length=32,
        load_default=None,
        metadata={"description": "account to list; administrators only"},
    )


class UserCodeSchema(StrictSchema):
    """The code shown on the other device."""

    user_code = Text(
        max_length=32,
        required=True,
        metadata={"description": "case, dashes and spaces are ignored", "example": "WDJB-MJHT"},
    )


class DeviceCodeSchema(StrictSchema):
    """The secret of the requesting device."""

    device_code = SecretText(max_length=4096, required=True)


class EmptySchema(StrictSchema):
    """An empty object."""
