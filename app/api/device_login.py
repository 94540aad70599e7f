"""Device login: start it on one device, claim and decide it on another."""

from __future__ import annotations

from marshmallow import fields, validate

from app.device_login.cancel import cancel_device_login
from app.device_login.claim import claim_device_login
from app.device_login.decide import approve_device_login, deny_device_login, report_device_login
from app.device_login.errors import DeviceLoginClosed, UnknownDeviceCode, UnknownUserCode
from app.device_login.show import (
    VISIBLE_STATES,
    DeviceLoginPage,
    DeviceLoginView,
    get_device_login,
    list_device_logins,
)
from app.device_login.start import DeviceAuthorization, start_device_login_with_phrase
from app.errors import Busy, NotFound
from app.principal import Principal
from app.rate_limits.errors import TooManyRequests
from app.unit_of_work import UnitOfWork
from app.web.auth.requirements import recent_authentication, require, session
from app.web.client_info import get_client_info
from app.web.json_body import Body
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
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
from app.web.unit_of_work import reading, writing

blp = Blueprint(
    "device login",
    __name__,
    url_prefix="/v1/login-sessions",
    description="Sign in on one device by approving the request on another (RFC 8628).",
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
        required=True,
        metadata={"description": "secret with which the device polls `/oauth/token`"},
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


@blp.route("", methods=["POST"])
@writing
@document_problems(TooManyRequests, Busy)
@blp.arguments(StartDeviceLoginSchema)
@blp.response(201, StartedDeviceLoginSchema)
def post_login_session(work: UnitOfWork, body: Body) -> DeviceAuthorization:
    """Start a device login. The user enters the code at `verification_uri`; poll `/oauth/token`.

    Show `user_code`, `verification_uri` and `check_phrase`. Keep `device_code` secret: it is
    exchanged for the tokens. At most three requests in 15 minutes may name the same `username`.
    The response does not reveal whether the account exists.
    """
    return start_device_login_with_phrase(work, get_client_info(), **body)


@blp.route("/cancel", methods=["POST"])
@writing
@document_problems(UnknownDeviceCode, DeviceLoginClosed, TooManyRequests)
@blp.arguments(DeviceCodeSchema)
@blp.response(204)
def post_cancel(work: UnitOfWork, body: Body) -> None:
    """Cancel a device login. Polls then fail with `expired_token`, and the user code is unknown."""
    cancel_device_login(work, get_client_info(), **body)


@blp.route("/claim", methods=["POST"])
@writing
@require(session)
@document_problems(UnknownUserCode, TooManyRequests)
@blp.arguments(UserCodeSchema)
@blp.response(200, DeviceLoginSchema)
def post_claim(work: UnitOfWork, principal: Principal, body: Body) -> DeviceLoginView:
    """Claim a device login by its code and show the request.

    From then on, only this account can see and decide it. Codes that are unknown, expired or
    reserved for another account all return 404 `unknown_user_code`. After five such responses in
    ten minutes, for the account or its network, every code returns 429.
    """
    return claim_device_login(work, principal, get_client_info(), **body)


@blp.route("", methods=["GET"])
@reading
@require(session)
@blp.query(DeviceLoginQuerySchema)
@blp.response(200, DeviceLoginsSchema)
def get_login_sessions(work: UnitOfWork, principal: Principal, query: Body) -> DeviceLoginPage:
    """List the device logins that you claimed, newest first.

    Administrators can list those of another account.
    """
    return list_device_logins(work, principal, **query)


@blp.route("/<login_session_id>", methods=["GET"])
@reading
@require(session)
@document_problems(NotFound)
@blp.response(200, DeviceLoginSchema)
def get_one_login_session(
    work: UnitOfWork, principal: Principal, login_session_id: str
) -> DeviceLoginView:
    """Get a device login that you claimed. Administrators can get any."""
    return get_device_login(work, principal, device_login_id=login_session_id)


@blp.route("/<login_session_id>/approve", methods=["POST"])
@writing
@require(session & recent_authentication)
@document_problems(NotFound, UnknownUserCode, DeviceLoginClosed, TooManyRequests)
@blp.arguments(UserCodeSchema)
@blp.response(200, DeviceLoginSchema)
def post_approve(
    work: UnitOfWork, principal: Principal, body: Body, login_session_id: str
) -> DeviceLoginView:
    """Approve a device login. Requires the code again, so that the ID alone is not enough.

    Requires authentication in the last five minutes: on 401 `reauthentication_required`, call
    `POST /v1/elevate` first. The new session never has more permissions than the approving one.
    """
    return approve_device_login(
        work, principal, get_client_info(), device_login_id=login_session_id, **body
    )


@blp.route("/<login_session_id>/deny", methods=["POST"])
@writing
@require(session)
@document_problems(NotFound, DeviceLoginClosed)
@blp.arguments(EmptySchema, required=False)
@blp.response(200, DeviceLoginSchema)
def post_deny(
    work: UnitOfWork, principal: Principal, _body: Body, login_session_id: str
) -> DeviceLoginView:
    """Deny a device login. The next poll fails with `access_denied`."""
    return deny_device_login(work, principal, get_client_info(), device_login_id=login_session_id)


@blp.route("/<login_session_id>/suspicious", methods=["POST"])
@writing
@require(session)
@document_problems(NotFound, DeviceLoginClosed)
@blp.arguments(EmptySchema, required=False)
@blp.response(200, DeviceLoginSchema)
def post_suspicious(
    work: UnitOfWork, principal: Principal, _body: Body, login_session_id: str
) -> DeviceLoginView:
    """Deny a device login that someone else started, and limit its network for a day.

    The next poll fails with `access_denied`, and the user gets an email with what to do. A device
    login that was approved returns 409 `login_session_over`: revoke its session instead, with
    `POST /v1/sessions/{id}/suspicious`. `DELETE` on that path withdraws this report as well.
    """
    return report_device_login(work, principal, get_client_info(), device_login_id=login_session_id)
