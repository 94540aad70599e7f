"""Endpoints for login, refresh, step-up, logout and the sessions of an account."""

from __future__ import annotations

from marshmallow import fields

from app.api.schemas import (
    SessionSchema,
    SessionsSchema,
    TokensSchema,
    build_current_password_field,
)
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
from app.web.routes import hashes_password
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
    description="Login, refresh, step-up, logout and your sessions.",
)

# Longer than any token of this service. A token of another kind is invalid, not malformed.
MAX_TOKEN_LENGTH = 4096


class LoginSchema(StrictSchema):
    """Username or email address, and password."""

    username = Text(max_length=256, required=True)
    password = build_current_password_field()
    device_name = Label(max_length=64, load_default=None)
    expires_in = StrictInteger(
        minimum=60,
        maximum=365 * 86400,
        load_default=None,
        metadata={"description": "requested lifetime of the session in seconds"},
    )
    device_token = SecretText(
        max_length=128,
        load_default=None,
        metadata={"description": "token of a trusted device, which is not throttled"},
    )
    scope = ScopeList(
        load_default=None,
        metadata={"description": "requested scopes, separated by spaces; default: all your scopes"},
    )
    remember_device = StrictBoolean(
        load_default=False,
        metadata={"description": "trust this device and return a `device_token`"},
    )
    refresh_in_cookie = StrictBoolean(
        load_default=False,
        metadata={
            "description": "set the refresh token as an HttpOnly cookie and omit it from the body"
        },
    )


class RefreshSchema(StrictSchema):
    """The latest refresh token."""

    refresh_token = SecretText(
        max_length=MAX_TOKEN_LENGTH,
        load_default=None,
        metadata={"description": "required unless the cookie is sent"},
    )


class LogoutSchema(StrictSchema):
    """Required only if the access token has expired."""

    refresh_token = SecretText(max_length=MAX_TOKEN_LENGTH, load_default=None)


@blp.route("/login", methods=["POST"])
@hashes_password
@writing
@rate_limit("login")
@document_problems(InvalidCredentials, PasswordChangeRequired, Busy)
@blp.arguments(LoginSchema)
@set_refresh_cookie_on_request
@blp.response(200, TokensSchema)
def post_login(work: UnitOfWork, body: Body) -> SessionTokens:
    """Log in. Every failure returns the same 401 at the same cost."""
    return log_in(work, get_client_info(), **body)


class UpdateSchema(StrictSchema):
    """A resource whose roles the token should include; give both names or neither."""

    resource = Text(max_length=32, load_default=None)
    id = Text(max_length=64, load_default=None, attribute="resource_id")
    force = StrictBoolean(
        load_default=None,
        metadata={
            "description": "no effect, because the token is always new; accepted for compatibility"
        },
    )


class ElevateSchema(StrictSchema):
    """The password of the current user."""

    password = build_current_password_field()


class AccessTokenSchema(StrictSchema):
    """An access token of the session and its contents."""

    access_token = fields.String(required=True)
    token_type = fields.String(required=True)
    expires_in = fields.Integer(required=True, metadata={"description": "seconds"})
    session_id = fields.String(required=True)
    scope = fields.String(required=True)
    roles = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "all roles, including those that do not fit into the token"},
    )


@blp.route("/token/refresh", methods=["POST"])
@writing
@rate_limit("refresh")
@document_problems(InvalidGrant)
@blp.arguments(RefreshSchema, required=False)
@accept_refresh_cookie
@blp.response(200, TokensSchema)
def post_refresh(work: UnitOfWork, body: Body) -> SessionTokens:
    """Refresh a session. Within 30 seconds the same refresh token returns the same successor.

    A refresh token in the cookie is returned in the cookie.
    """
    return refresh_session(work, get_client_info(), **body)


@blp.route("/token/update", methods=["POST"])
@reading
@require(session)
@blp.arguments(UpdateSchema, required=False)
@blp.response(200, AccessTokenSchema)
def post_update(work: UnitOfWork, principal: Principal, body: Body) -> IssuedAccessToken:
    """Get an access token with the current rights, and the roles at a resource if you name one.

    It expires with the presented token; refresh for a longer one.
    """
    return update_token(work, principal, resource=body["resource"], resource_id=body["resource_id"])


@blp.route("/elevate", methods=["POST"])
@hashes_password
@writing
@require(session)
@document_problems(WrongPassword, PasswordChangeRequired, TooManyRequests, Busy)
@blp.arguments(ElevateSchema)
@blp.response(200, AccessTokenSchema)
def post_elevate(work: UnitOfWork, principal: Principal, body: Body) -> IssuedAccessToken:
    """Authenticate again with the password.

    For five minutes the new access token counts as recent authentication (RFC 9470).
    """
    return elevate(work, principal, get_client_info(), **body)


@blp.route("/logout", methods=["POST"])
@writing
@clear_refresh_cookie
@require(session_or_refresh_cookie)
@document_problems(TooManyRequests)
@blp.arguments(LogoutSchema, required=False)
@blp.response(204)
def post_logout(work: UnitOfWork, principal: Principal, _body: Body) -> None:
    """Log out. The tokens of the session stop working at once.

    The access token identifies the session; if it has expired, the refresh token in the body or
    cookie does.
    """
    log_out(work, principal, get_client_info())


@blp.route("/logout-all", methods=["POST"])
@writing
@require(session_or_refresh_token)
@document_problems(TooManyRequests)
@blp.arguments(LogoutSchema, required=False)
@blp.response(204)
def post_logout_all(work: UnitOfWork, principal: Principal, _body: Body) -> None:
    """Log out of all sessions. Their tokens stop working at once."""
    log_out_everywhere(work, principal, get_client_info())


@blp.route("/sessions", methods=["GET"])
@reading
@require(session)
@blp.response(200, SessionsSchema)
def get_sessions(work: UnitOfWork, principal: Principal) -> dict[str, object]:
    """List your live sessions, newest first."""
    return {"items": list_sessions(work, principal), "next": None}


@blp.route("/sessions", methods=["DELETE"])
@writing
@require(session)
@blp.response(204)
def delete_other_sessions(work: UnitOfWork, principal: Principal) -> None:
    """Revoke all your sessions except the current one."""
    revoke_other_sessions(work, principal, get_client_info())


@blp.route("/sessions/<session_id>", methods=["GET"])
@reading
@require(session)
@document_problems(NotFound)
@blp.response(200, SessionSchema)
def get_one_session(work: UnitOfWork, principal: Principal, session_id: str) -> SessionDetails:
    """Get one of your sessions, live or ended."""
    return get_session(work, principal, session_id=session_id)


@blp.route("/sessions/<session_id>", methods=["DELETE"])
@writing
@require(session)
@document_problems(NotFound)
@blp.response(204)
def delete_session(work: UnitOfWork, principal: Principal, session_id: str) -> None:
    """Revoke one of your sessions. Its tokens stop working at once."""
    revoke_session(work, principal, get_client_info(), session_id=session_id)
