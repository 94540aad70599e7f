"""Device login: start it on one device, claim and decide it on another."""

from __future__ import annotations

from app.api.device_login_schemas import (
    DeviceCodeSchema,
    DeviceLoginQuerySchema,
    DeviceLoginSchema,
    DeviceLoginsSchema,
    EmptySchema,
    StartDeviceLoginSchema,
    StartedDeviceLoginSchema,
    UserCodeSchema,
)
from app.device_login.cancel import cancel_device_login
from app.device_login.claim import claim_device_login
from app.device_login.decide import approve_device_login, deny_device_login, report_device_login
from app.device_login.errors import DeviceLoginClosed, UnknownDeviceCode, UnknownUserCode
from app.device_login.show import (
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
from app.web.unit_of_work import reading, writing

blp = Blueprint(
    "device login",
    __name__,
    url_prefix="/v1/login-sessions",
    description="Sign in on one device by approving the request on another (RFC 8628).",
)


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
