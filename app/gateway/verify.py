"""The one check: a credential goes in, a Principal comes out, or Unauthenticated is raised.

Our own routes, introspection and every gateway ask here. Shape and size, signature, claims against `work.now`, and last
what has ended; whatever cannot be answered is an error of the service, never a yes and never a 401.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from app.adapters.jwt import Claims, TokenRejected
from app.errors import Unauthenticated
from app.gateway.liveness import look_up
from app.opaque_tokens import is_id
from app.principal import Kind, Principal
from app.revocation.view import Verdict, look, remember
from app.sessions.access_tokens import TYP
from app.sessions.errors import InvalidGrant
from app.sessions.refresh import session_of, unspent

if TYPE_CHECKING:
    from app.settings import Settings
    from app.unit_of_work import UnitOfWork

LEEWAY = timedelta(seconds=30)
TEXTS = ("iss", "aud", "sub", "sid", "jti", "client_id")
NUMBERS = ("exp", "iat", "ep", "auth_time")
LATEST = 253402300799  # the last second of the year 9999; what lies beyond is no date


def verify(work: UnitOfWork, token: str) -> Principal:
    """Whose access token this is. Raises Unauthenticated when it is not, or no longer, good."""
    try:
        claims = work.keys.verify(TYP, token)
    except TokenRejected:
        raise Unauthenticated from None
    if not well_formed(claims) or not timely(claims, work.now) or not ours(claims, work.settings):
        raise Unauthenticated
    session_id, account_id, epoch = claims["sid"], claims["sub"], claims["ep"]
    seen = look(work.cache, account_id, session_id, now=work.now, epoch=epoch, global_epoch=work.keys.global_epoch)
    if seen.verdict is Verdict.REVOKED:
        raise Unauthenticated
    expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    if seen.verdict is Verdict.VALID:
        auth_time = datetime.fromtimestamp(claims["auth_time"], UTC)
        return Principal(account_id, seen.username, Kind.SESSION, session_id, expires_at, auth_time, roles=seen.roles)
    principal = _living(work, session_id, expires_at=expires_at, epoch=epoch)
    if principal.account_id != account_id:
        raise Unauthenticated
    return principal


def verify_refresh_token(work: UnitOfWork, token: str) -> Principal:
    """Whose refresh token this is, for ending its session when no access token is left. Raises Unauthenticated.

    One that was used up long ago opens nothing here either: it may be a copy.
    """
    with work.aside() as db:
        try:
            session, counter = session_of(db, work.settings.secret_key, token)
        except InvalidGrant:
            raise Unauthenticated from None
    if not unspent(session, counter, work.now):
        raise Unauthenticated
    return _living(work, session.id, expires_at=session.ends_at, epoch=session.account_epoch)


def well_formed(claims: Claims) -> bool:
    """Is every claim there, and of its type? (RFC 9068 section 2.2)"""
    return (
        all(isinstance(claims.get(name), str) for name in TEXTS)
        and all(type(claims.get(name)) is int and 0 <= claims[name] <= LATEST for name in NUMBERS)
        and type(claims.get("nbf", 0)) is int
        and is_id("ses", claims["sid"])
        and is_id("acc", claims["sub"])
    )


def timely(claims: Claims, now: datetime) -> bool:
    """Is it in force? Leeway for clocks that are a little apart."""
    seconds, leeway = now.timestamp(), LEEWAY.total_seconds()
    return bool(claims["exp"] > seconds - leeway and claims["iat"] <= seconds + leeway and claims.get("nbf", 0) <= seconds + leeway)


def ours(claims: Claims, settings: Settings) -> bool:
    """Did we issue it, for ourselves? Exactly, letter by letter."""
    return bool(claims["iss"] == settings.issuer and claims["aud"] == settings.audience)


def _living(work: UnitOfWork, session_id: str, *, expires_at: datetime, epoch: int) -> Principal:
    found = look_up(work, session_id)
    if found is None or not found.allows(work.now, epoch=epoch):
        raise Unauthenticated
    remember(
        work.cache,
        account_id=found.account_id,
        session_id=session_id,
        username=found.username,
        roles=found.roles,
        epoch=found.present_account_epoch,
        roles_version=found.roles_version,
        global_epoch=found.present_global_epoch,
        ends_at=found.ends_at,
    )
    return Principal(
        account_id=found.account_id,
        username=found.username,
        kind=Kind.SESSION,
        session_id=session_id,
        expires_at=expires_at,
        auth_time=found.auth_time,
        roles=found.roles,
    )
