"""The door of a route: who asks is settled before the body is looked at."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from flask import request

from app.adapters import logs
from app.adapters.database import is_database_unavailable
from app.authorization.errors import InsufficientScope
from app.authorization.models import ADMIN
from app.authorization.scopes import has_scope
from app.errors import Forbidden, Problem, Unauthenticated, Unavailable
from app.principal import CredentialKind, Principal
from app.rate_limits.errors import TooManyRequests
from app.rate_limits.per_source import count_request
from app.sessions.recent_authentication import (
    ReauthenticationRequired,
    require_recent_authentication,
)
from app.unit_of_work import UnitOfWork
from app.verification.api_keys import has_api_key_prefix, verify_api_key
from app.verification.session_tokens import verify_access_token, verify_refresh_token
from app.web.auth.refresh_cookie import AmbiguousRefreshToken, CookieNotAllowed, find_refresh_token
from app.web.client_info import get_client_info
from app.web.json_body import read_json
from app.web.openapi.annotations import document_operation, document_problems

if TYPE_CHECKING:
    from app.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")
Door = Callable[[UnitOfWork], Principal]

BEARER = re.compile(r"bearer +([^ ,]+)", re.IGNORECASE)
CHALLENGE = 'Bearer realm="doorward"'
Security = list[dict[str, list[str]]]
BEARER_ONLY: Security = [{"bearer": []}]
BOTH: Security = [{"bearer": []}, {"api_key": []}]
EITHER: Security = [{"bearer": []}, {}]

log = logs.get_logger("guard")


def credential(work: UnitOfWork) -> Principal:
    """Any valid credential: an access token or an API key, in one header."""
    kind, text = _parse_credential()
    if kind == "key":
        try:
            return verify_api_key(work, text)
        except Unauthenticated:
            raise _build_refusal("The API key is not valid, or not any more.") from None
    try:
        return verify_access_token(work, text)
    except Unauthenticated:
        raise _build_refusal(
            "The access token is not valid, or not any more. Refresh it, or sign in again."
        ) from None


def session(work: UnitOfWork) -> Principal:
    """A live session, shown by its access token. A key is known here, and may not."""
    principal = credential(work)
    if principal.kind is not CredentialKind.SESSION:
        raise Forbidden("Only somebody who is signed in may do this; a key may not.")
    return principal


def fresh_session(work: UnitOfWork) -> Principal:
    """A live session whose owner has typed the password in the last five minutes."""
    principal = session(work)
    require_recent_authentication(principal, work.now)
    return principal


def admin(work: UnitOfWork) -> Principal:
    """A live session of an administrator."""
    return _administrator(session(work))


def fresh_admin(work: UnitOfWork) -> Principal:
    """A live session of an administrator who has typed the password in the last five minutes."""
    _administrator(session(work))
    return fresh_session(work)


def scoped(scope: str) -> Door:
    """Any valid credential that holds the scope."""

    def door(work: UnitOfWork) -> Principal:
        principal = credential(work)
        require_scope(principal, scope)
        return principal

    return door


def require_scope(principal: Principal, scope: str) -> None:
    """Raises InsufficientScope when the credential does not hold the scope."""
    if not has_scope(scope, principal.scopes):
        raise InsufficientScope(scope)


def session_or_refresh_token(work: UnitOfWork) -> Principal:
    """A live session, shown by its access token or, where that has expired, by the refresh token in the body."""
    return _session_or(work, lambda _: _find_refresh_token_in_body())


def session_or_refresh_cookie(work: UnitOfWork) -> Principal:
    """The same; the refresh token may be in its cookie too."""
    return _session_or(
        work, lambda settings: find_refresh_token(settings, _find_refresh_token_in_body())
    )


def _session_or(work: UnitOfWork, shown: Callable[[Settings], str | None]) -> Principal:
    try:
        return session(work)
    except Unauthenticated as refusal:
        refresh_token = shown(work.settings)
        if refresh_token is None:
            raise refusal from None
        count_request(work, get_client_info(), "refresh")
        try:
            return verify_refresh_token(work, refresh_token)
        except Unauthenticated:
            raise refusal from None


def require(
    door: Door,
) -> Callable[
    [Callable[Concatenate[UnitOfWork, Principal, P], R]], Callable[Concatenate[UnitOfWork, P], R]
]:
    """Let through whom the door lets through; the handler gets the principal after the unit of work."""

    def decorate(
        handler: Callable[Concatenate[UnitOfWork, Principal, P], R],
    ) -> Callable[Concatenate[UnitOfWork, P], R]:
        @functools.wraps(handler)
        def guarded(work: UnitOfWork, /, *args: P.args, **kwargs: P.kwargs) -> R:
            return handler(work, _run_check(door, work), *args, **kwargs)

        return document_operation(
            document_problems(*_refusals(door))(guarded), security=_security(door)
        )

    return decorate


def _refusals(door: Door) -> tuple[type[Problem], ...]:
    always = (Unauthenticated, Forbidden, Unavailable)
    if door in {fresh_session, fresh_admin}:
        return (*always, ReauthenticationRequired)
    if door is session_or_refresh_cookie:
        return (*always, CookieNotAllowed, AmbiguousRefreshToken)
    return (
        always
        if door in {session, admin, session_or_refresh_token}
        else (*always, InsufficientScope, TooManyRequests)
    )


def _security(door: Door) -> Security:
    if door in {session_or_refresh_token, session_or_refresh_cookie}:
        return EITHER
    return BEARER_ONLY if door in {session, fresh_session, admin, fresh_admin} else BOTH


def _run_check(door: Door, work: UnitOfWork) -> Principal:
    try:
        return door(work)
    except Problem:
        raise
    except Exception as error:
        # A check that broke is no answer about the credential: a 401 would make clients throw away a good session.
        if is_database_unavailable(error):
            log.warning("the check failed", fault=type(error).__name__)
        else:
            log.exception("the check failed")
        raise Unavailable("Who asks could not be checked. Try again shortly.") from error


def _administrator(principal: Principal) -> Principal:
    if ADMIN not in principal.roles:
        raise Forbidden("Only an administrator may do this.")
    return principal


def _parse_credential() -> tuple[str, str]:
    """The one credential of the request, and whether it is a token or a key. Raises Unauthenticated."""
    tokens, keys = request.headers.getlist("Authorization"), request.headers.getlist("X-API-Key")
    if not tokens and not keys:
        raise Unauthenticated(
            "Send an access token: Authorization: Bearer …, or an API key: X-API-Key: …",
            headers={"WWW-Authenticate": CHALLENGE},
        )
    if len(tokens) + len(keys) > 1:
        raise _build_refusal("Send one credential, and only one.")
    if keys:
        return "key", keys[0]
    parts = BEARER.fullmatch(tokens[0])
    if parts is None:
        raise _build_refusal(
            "The Authorization header must be: Bearer, a space, and one access token or API key."
        )
    return "key" if has_api_key_prefix(parts[1]) else "token", parts[1]


def _build_refusal(detail: str) -> Unauthenticated:
    return Unauthenticated(
        detail, headers={"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'}
    )


def _find_refresh_token_in_body() -> str | None:
    try:
        token = read_json(request).get("refresh_token")
    except Problem:
        return None
    return token if isinstance(token, str) else None
