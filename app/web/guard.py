"""The door of a route: who asks is settled before the body is looked at."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from flask import request

from app.adapters import logs
from app.adapters.database import is_away
from app.attempts.source_limits import take
from app.errors import Problem, Unauthenticated, Unavailable
from app.gateway.verify import verify, verify_refresh_token
from app.principal import Principal
from app.unit_of_work import UnitOfWork
from app.web.body import read_json
from app.web.documented import answers, described
from app.web.source import current_source

P = ParamSpec("P")
R = TypeVar("R")
Door = Callable[[UnitOfWork], Principal]

BEARER = re.compile(r"bearer +([^ ,]+)", re.IGNORECASE)
CHALLENGE = 'Bearer realm="doorward"'

log = logs.get_logger("guard")


def session(work: UnitOfWork) -> Principal:
    """A live session, shown by its access token."""
    given = request.headers.get("Authorization")
    if given is None:
        raise Unauthenticated("Send an access token: Authorization: Bearer …", headers={"WWW-Authenticate": CHALLENGE})
    parts = BEARER.fullmatch(given)
    if parts is None:
        raise _refused("The Authorization header must be: Bearer, a space, and one access token.")
    try:
        return verify(work, parts[1])
    except Unauthenticated:
        raise _refused("The access token is not valid, or not any more. Refresh it, or sign in again.") from None


def session_or_refresh_token(work: UnitOfWork) -> Principal:
    """A live session, shown by its access token or, where that has expired, by the refresh token in the body."""
    try:
        return session(work)
    except Unauthenticated as refusal:
        refresh_token = _refresh_token()
        if refresh_token is None:
            raise refusal from None
        take(work, current_source(), "refresh")
        try:
            return verify_refresh_token(work, refresh_token)
        except Unauthenticated:
            raise refusal from None


def require(door: Door) -> Callable[[Callable[Concatenate[UnitOfWork, Principal, P], R]], Callable[Concatenate[UnitOfWork, P], R]]:
    """Let through whom the door lets through; the handler gets the principal after the unit of work."""

    def decorate(handler: Callable[Concatenate[UnitOfWork, Principal, P], R]) -> Callable[Concatenate[UnitOfWork, P], R]:
        @functools.wraps(handler)
        def guarded(work: UnitOfWork, /, *args: P.args, **kwargs: P.kwargs) -> R:
            return handler(work, _checked(door, work), *args, **kwargs)

        return described(
            answers(Unauthenticated, Unavailable)(guarded), security=[{"bearer": []}] if door is session else [{"bearer": []}, {}]
        )

    return decorate


def _checked(door: Door, work: UnitOfWork) -> Principal:
    try:
        return door(work)
    except Problem:
        raise
    except Exception as error:
        # A check that broke is no answer about the credential: a 401 would make clients throw away a good session.
        if is_away(error):
            log.warning("the check failed", fault=type(error).__name__)
        else:
            log.exception("the check failed")
        raise Unavailable("Who asks could not be checked. Try again shortly.") from error


def _refused(detail: str) -> Unauthenticated:
    return Unauthenticated(detail, headers={"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'})


def _refresh_token() -> str | None:
    try:
        token = read_json(request).get("refresh_token")
    except Problem:
        return None
    return token if isinstance(token, str) else None
