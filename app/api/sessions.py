"""Being logged in: logging in and out, refreshing, one's own sessions."""

from __future__ import annotations

from marshmallow import fields, validates

from app.api.schemas import SessionSchema, SessionsSchema, TokensSchema, validate_password_text
from app.authentication.errors import InvalidCredentials, WrongPassword
from app.errors import Busy, NotFound
from app.principal import Principal
from app.rate_limits.errors import TooManyRequests
from app.sessions.elevate import elevate
from app.sessions.errors import InvalidGrant, PasswordChangeRequired
from app.sessions.log_in import log_in
from app.sessions.refresh import refresh_session
from app.sessions.revoke import log_out, log_out_everywhere, revoke_other_sessions, revoke_session
from app.sessions.show import SessionDetails, get_session, list_sessions
from app.sessions.tokens import SessionTokens
from app.sessions.update import IssuedAccessToken, update_token
from app.unit_of_work import UnitOfWork
from app.web.auth.refresh_cookie import (
    accept_refresh_cookie,
    clear_refresh_cookie,
    set_refresh_cookie_on_request,
)
from app.web.auth.requirements import (
    require,
    session,
    session_or_refresh_cookie,
    session_or_refresh_token,
)
from app.web.client_info import get_client_info
from app.web.json_body import Body
from app.web.openapi.annotations import document_problems
from app.web.openapi.blueprint import Blueprint
from app.web.rate_limit import rate_limit
from app.web.schemas import (
    Label,
    ScopeList,
    SecretText,
    StrictBoolean,
    StrictInteger,
    StrictSchema,
    Text,
)
from app.web.unit_of_work import reading, writing

blp = Blueprint(
    "sessions",
    __name__,
    url_prefix="/v1",
    description="Logging in and out, refreshing, one's own sessions.",
)

# Longer than ours are: a token of another kind is no fault of form, it is one that does not count.
MAX_TOKEN_LENGTH = 4096


class LoginSchema(StrictSchema):
    """A name or address and its password."""

    username = Text(max_length=256, required=True)
    password = SecretText(required=True)
    device_name = Label(max_length=64, load_default=None)
    expires_in = StrictInteger(
        minimum=60,
        maximum=365 * 86400,
        load_default=None,
        metadata={"description": "wanted length of the session in seconds"},
    )
    device_token = SecretText(
        max_length=128,
        load_default=None,
        metadata={"description": "of a remembered device, from where nobody has to wait"},
    )
    scope = ScopeList(
        load_default=None,
        metadata={
            "description": "scopes to have, separated by spaces; without it, all that one's roles allow"
        },
    )
    remember_device = StrictBoolean(
        load_default=False, metadata={"description": "answer a device_token"}
    )
    refresh_in_cookie = StrictBoolean(
        load_default=False,
        metadata={
            "description": "set the refresh token as a cookie that no script can read, and leave it out of the answer"
        },
    )

    @validates("password")
    def validate_password(self, value: str, **_: object) -> None:
        validate_password_text(value)


class RefreshSchema(StrictSchema):
    """The latest refresh token."""

    refresh_token = SecretText(
        max_length=MAX_TOKEN_LENGTH,
        load_default=None,
        metadata={"description": "needed unless it comes in the cookie"},
    )


class LogoutSchema(StrictSchema):
    """Needed only when the access token has expired."""

    refresh_token = SecretText(max_length=MAX_TOKEN_LENGTH, load_default=None)


@blp.route("/login", methods=["POST"])
@writing
@rate_limit("login")
@document_problems(InvalidCredentials, PasswordChangeRequired, Busy)
@blp.arguments(LoginSchema)
@set_refresh_cookie_on_request
@blp.response(200, TokensSchema)
def post_login(work: UnitOfWork, body: Body) -> SessionTokens:
    """Open a session. Every failure is the same 401 at the same cost."""
    return log_in(work, get_client_info(), **body)


class UpdateSchema(StrictSchema):
    """A thing of an application, to have the roles at that in the token too: both names, or neither."""

    resource = Text(max_length=32, load_default=None)
    id = Text(max_length=64, load_default=None, attribute="resource_id")
    force = StrictBoolean(
        load_default=None,
        metadata={
            "description": "nothing: the token is always a new one. For callers that send it"
        },
    )


class ElevateSchema(StrictSchema):
    """The password of whoever is signed in."""

    password = SecretText(required=True)

    @validates("password")
    def validate_password(self, value: str, **_: object) -> None:
        validate_password_text(value)


class AccessTokenSchema(StrictSchema):
    """Another access token of the session, and what it says."""

    access_token = fields.String(required=True)
    token_type = fields.String(required=True)
    expires_in = fields.Integer(required=True, metadata={"description": "seconds"})
    session_id = fields.String(required=True)
    scope = fields.String(required=True)
    roles = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "also those for which the token had no room"},
    )


@blp.route("/token/refresh", methods=["POST"])
@writing
@rate_limit("refresh")
@document_problems(InvalidGrant)
@blp.arguments(RefreshSchema, required=False)
@accept_refresh_cookie
@blp.response(200, TokensSchema)
def post_refresh(work: UnitOfWork, body: Body) -> SessionTokens:
    """A fresh access token and the next refresh token. For 30 seconds the same call gets the same refresh token again.

    A refresh token that comes in the cookie is answered in the cookie.
    """
    return refresh_session(work, get_client_info(), **body)


@blp.route("/token/update", methods=["POST"])
@reading
@require(session)
@blp.arguments(UpdateSchema, required=False)
@blp.response(200, AccessTokenSchema)
def post_update(work: UnitOfWork, principal: Principal, body: Body) -> IssuedAccessToken:
    """Another access token with the rights of now and, where a thing is named, the roles at that.

    It ends when the one that was sent ends: refresh for a longer one.
    """
    return update_token(work, principal, resource=body["resource"], resource_id=body["resource_id"])


@blp.route("/elevate", methods=["POST"])
@writing
@require(session)
@document_problems(WrongPassword, PasswordChangeRequired, TooManyRequests, Busy)
@blp.arguments(ElevateSchema)
@blp.response(200, AccessTokenSchema)
def post_elevate(work: UnitOfWork, principal: Principal, body: Body) -> IssuedAccessToken:
    """Type the password once more. For five minutes the access token in the answer opens what asks for a fresh one (RFC 9470)."""
    return elevate(work, principal, get_client_info(), **body)


@blp.route("/logout", methods=["POST"])
@writing
@clear_refresh_cookie
@require(session_or_refresh_cookie)
@document_problems(TooManyRequests)
@blp.arguments(LogoutSchema, required=False)
@blp.response(204)
def post_logout(work: UnitOfWork, principal: Principal, _body: Body) -> None:
    """End this session; its tokens stop at once. The access token says which; where it has expired, the refresh token, also by cookie."""
    log_out(work, principal, get_client_info())


@blp.route("/logout-all", methods=["POST"])
@writing
@require(session_or_refresh_token)
@document_problems(TooManyRequests)
@blp.arguments(LogoutSchema, required=False)
@blp.response(204)
def post_logout_all(work: UnitOfWork, principal: Principal, _body: Body) -> None:
    """End every session of the account; all its tokens stop at once."""
    log_out_everywhere(work, principal, get_client_info())


@blp.route("/sessions", methods=["GET"])
@reading
@require(session)
@blp.response(200, SessionsSchema)
def get_sessions(work: UnitOfWork, principal: Principal) -> dict[str, object]:
    """The live sessions of the account, newest first."""
    return {"items": list_sessions(work, principal), "next": None}


@blp.route("/sessions", methods=["DELETE"])
@writing
@require(session)
@blp.response(204)
def delete_other_sessions(work: UnitOfWork, principal: Principal) -> None:
    """End every session of the account but this one."""
    revoke_other_sessions(work, principal, get_client_info())


@blp.route("/sessions/<session_id>", methods=["GET"])
@reading
@require(session)
@document_problems(NotFound)
@blp.response(200, SessionSchema)
def get_one_session(work: UnitOfWork, principal: Principal, session_id: str) -> SessionDetails:
    """One session of one's own, also when it is over."""
    return get_session(work, principal, session_id=session_id)


@blp.route("/sessions/<session_id>", methods=["DELETE"])
@writing
@require(session)
@document_problems(NotFound)
@blp.response(204)
def delete_session(work: UnitOfWork, principal: Principal, session_id: str) -> None:
    """End one session of one's own; its tokens stop at once."""
    revoke_session(work, principal, get_client_info(), session_id=session_id)
