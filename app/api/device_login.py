"""Being let in from another device: asking there, deciding here."""

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
from app.web.auth.credentials import fresh_session, require, session
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
    "login sessions",
    __name__,
    url_prefix="/v1/login-sessions",
    description="Logins that are asked for on one device and approved on another.",
)


class StartDeviceLoginSchema(StrictSchema):
    """Who asks, and for what. All of it is shown to whoever decides, as something that was told."""

    client_name = Label(
        max_length=64,
        required=True,
        metadata={"description": "how a person would call the program", "example": "backup"},
    )
    client_id = Text(
        max_length=32,
        load_default=None,
        metadata={"description": "one of `DOORWARD_CLIENTS`; without it, `doorward`"},
    )
    hostname = Label(
        max_length=64,
        load_default=None,
        metadata={"description": "of the machine that asks", "example": "attic"},
    )
    login_message = Label(
        max_length=200,
        load_default=None,
        metadata={"description": "why; shown on both devices", "example": "nightly backup"},
    )
    scope = ScopeList(
        load_default=None,
        metadata={
            "description": "scopes to have, separated by spaces; without it, all that may be had"
        },
    )
    expires_in = StrictInteger(
        minimum=60,
        maximum=365 * 86400,
        load_default=None,
        metadata={
            "description": "wanted length of the session in seconds, with the rules of `/v1/login`"
        },
    )
    username = Text(
        max_length=256,
        load_default=None,
        metadata={"description": "name or address of the only account that may approve it"},
    )


class StartedDeviceLoginSchema(StrictSchema):
    """What to show on the device that asks, and the secret that it keeps."""

    session_id = fields.String(
        required=True, metadata={"description": "of the session to be; it opens nothing"}
    )
    device_code = fields.String(
        required=True,
        metadata={"description": "the secret by which the device polls at /oauth/token"},
    )
    user_code = fields.String(
        required=True,
        metadata={
            "description": "what a person types; case, dashes and spaces do not count",
            "example": "WDJB-MJHT",
        },
    )
    verification_uri = fields.String(
        required=True, metadata={"example": "https://auth.example.org/login/activate"}
    )
    verification_uri_complete = fields.String(
        required=True,
        metadata={"description": "the same with the code filled in; it approves nothing"},
    )
    expires_in = fields.Integer(required=True, metadata={"description": "seconds", "example": 600})
    interval = fields.Integer(
        required=True, metadata={"description": "seconds from one poll to the next", "example": 5}
    )
    login_message = fields.String(required=True, allow_none=True)
    check_phrase = fields.String(
        required=True,
        allow_none=True,
        metadata={
            "description": "words that both devices show",
            "example": "safeness hangout flyer",
        },
    )


class ActingSessionSchema(StrictSchema):
    """The session by which somebody claimed or decided, and from where."""

    session_id = fields.String(required=True)
    address = fields.String(required=True)
    device = fields.String(required=True)


class DeviceLoginSchema(StrictSchema):
    """Who asks, from where, for what, when; and what became of it."""

    id = fields.String(
        required=True, metadata={"description": "that of the session, once there is one"}
    )
    state = fields.String(
        required=True, metadata={"enum": list(VISIBLE_STATES), "example": "claimed"}
    )
    client_id = fields.String(required=True)
    client_name = fields.String(
        required=True,
        metadata={
            "description": "of a client of `DOORWARD_CLIENTS` the operator's name for it, else as told"
        },
    )
    hostname = fields.String(required=True, allow_none=True, metadata={"description": "as told"})
    login_message = fields.String(
        required=True, allow_none=True, metadata={"description": "as told"}
    )
    check_phrase = fields.String(required=True, allow_none=True)
    scope = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "asked for; null: whatever may be had"},
    )
    granted_scope = fields.String(
        required=True,
        allow_none=True,
        metadata={"description": "approved; null: whatever its owner may"},
    )
    expires_in = fields.Integer(
        required=True,
        allow_none=True,
        metadata={
            "description": "length asked for the session in seconds, from redemption on; null: as long as any"
        },
    )
    address = fields.String(
        required=True, metadata={"description": "from where it was asked, as seen here"}
    )
    user_agent = fields.String(
        required=True, metadata={"description": "of the program that asked, as sent"}
    )
    account_id = fields.String(
        required=True, allow_none=True, metadata={"description": "who claimed it"}
    )
    created_at = Timestamp(required=True)
    expires_at = Timestamp(
        required=True, metadata={"description": "until when it can be approved and redeemed"}
    )
    claimed_at = Timestamp(required=True, allow_none=True)
    claimed_with = fields.Nested(ActingSessionSchema, required=True, allow_none=True)
    decided_at = Timestamp(required=True, allow_none=True)
    decided_with = fields.Nested(ActingSessionSchema, required=True, allow_none=True)
    redeemed_at = Timestamp(required=True, allow_none=True)
    ended_at = Timestamp(required=True, allow_none=True)


class DeviceLoginsSchema(StrictSchema):
    """Logins from other devices, the latest first."""

    items = fields.List(fields.Nested(DeviceLoginSchema), required=True)
    next = fields.String(required=True, allow_none=True)


class DeviceLoginQuerySchema(PageSchema):
    """Which are wanted."""

    state = fields.String(load_default=None, validate=validate.OneOf(list(VISIBLE_STATES)))
    account_id = Text(
        max_length=32, load_default=None, metadata={"description": "whose; for administrators"}
    )


class UserCodeSchema(StrictSchema):
    """The code that the other device shows."""

    user_code = Text(
        max_length=32,
        required=True,
        metadata={"description": "case, dashes and spaces do not count", "example": "WDJB-MJHT"},
    )


class DeviceCodeSchema(StrictSchema):
    """The secret of whoever asked."""

    device_code = SecretText(max_length=4096, required=True)


class EmptySchema(StrictSchema):
    """Nothing more has to be said."""


@blp.route("", methods=["POST"])
@writing
@document_problems(TooManyRequests, Busy)
@blp.arguments(StartDeviceLoginSchema)
@blp.response(201, StartedDeviceLoginSchema)
def post_login_session(work: UnitOfWork, body: Body) -> DeviceAuthorization:
    """Ask to be let in. A person types the user code at the address that is answered; meanwhile, poll at /oauth/token.

    Show `user_code`, `verification_uri` and `check_phrase`, and keep `device_code` to yourself: who has it gets the tokens. At most three
    requests in 15 minutes may name one account by `username`; whether there is such an account is not told.
    """
    return start_device_login_with_phrase(work, get_client_info(), **body)


@blp.route("/cancel", methods=["POST"])
@writing
@document_problems(UnknownDeviceCode, DeviceLoginClosed, TooManyRequests)
@blp.arguments(DeviceCodeSchema)
@blp.response(204)
def post_cancel(work: UnitOfWork, body: Body) -> None:
    """Give up asking. From then on a poll is told `expired_token`, and whoever types the code that it is not known."""
    cancel_device_login(work, get_client_info(), **body)


@blp.route("/claim", methods=["POST"])
@writing
@require(session)
@document_problems(UnknownUserCode, TooManyRequests)
@blp.arguments(UserCodeSchema)
@blp.response(200, DeviceLoginSchema)
def post_claim(work: UnitOfWork, principal: Principal, body: Body) -> DeviceLoginView:
    """Say which login is meant by its code, and see who asks. From now on no other account sees or decides it.

    A code that is unknown, over, claimed by somebody else or meant for somebody else is one answer, 404 `unknown_user_code`. After five of
    them in ten minutes, by the account or from its source, it is 429, also for a right one.
    """
    return claim_device_login(work, principal, get_client_info(), **body)


@blp.route("", methods=["GET"])
@reading
@require(session)
@blp.query(DeviceLoginQuerySchema)
@blp.response(200, DeviceLoginsSchema)
def get_login_sessions(work: UnitOfWork, principal: Principal, query: Body) -> DeviceLoginPage:
    """What one has claimed, the latest first, also what was denied. An administrator may ask for another account's."""
    return list_device_logins(work, principal, **query)


@blp.route("/<login_session_id>", methods=["GET"])
@reading
@require(session)
@document_problems(NotFound)
@blp.response(200, DeviceLoginSchema)
def get_one_login_session(
    work: UnitOfWork, principal: Principal, login_session_id: str
) -> DeviceLoginView:
    """One that one has claimed. An administrator sees everybody's."""
    return get_device_login(work, principal, device_login_id=login_session_id)


@blp.route("/<login_session_id>/approve", methods=["POST"])
@writing
@require(fresh_session)
@document_problems(NotFound, UnknownUserCode, DeviceLoginClosed, TooManyRequests)
@blp.arguments(UserCodeSchema)
@blp.response(200, DeviceLoginSchema)
def post_approve(
    work: UnitOfWork, principal: Principal, body: Body, login_session_id: str
) -> DeviceLoginView:
    """Let the other device in. The code is sent once more, so that an id alone approves nothing.

    It wants a password typed in the last five minutes: on 401 `reauthentication_required`, `POST /v1/elevate` first. The session that comes
    of it never has more rights than the one that approves.
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
    """Refuse. The program is told `access_denied` at its next poll."""
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
    """Refuse what somebody else has asked for: for a day its source may ask only now and then.

    The program is told `access_denied`, the owner gets a mail with what to do. One that was approved is 409 `login_session_over`: end its
    session instead, by `POST /v1/sessions/{id}/suspicious`. `DELETE` there takes this back too.
    """
    return report_device_login(work, principal, get_client_info(), device_login_id=login_session_id)
