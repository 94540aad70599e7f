"""The one check: a credential goes in, a Principal comes out, or Unauthenticated is raised.

Our own routes, introspection and every gateway ask here; keys are checked next door. Shape and size, signature, claims
against `work.now`, and last what has ended; whatever cannot be answered is an error of the service, never a yes and never a 401.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from app.adapters.jwt import Claims, TokenRejected
from app.authorization.scopes import list_scopes, narrow_scopes
from app.credential_status.session_cache import (
    CachedSession,
    Verdict,
    cache_session,
    get_cached_session,
)
from app.errors import Unauthenticated
from app.opaque_tokens import is_id
from app.principal import CredentialKind, Principal
from app.sessions.access_tokens import (
    FINGERPRINT_CLAIM,
    JWT_TYP,
    NARROWED_CLAIM,
    exclude_admin,
    get_session_roles,
    get_session_scopes,
)
from app.sessions.errors import InvalidGrant
from app.sessions.refresh import get_session_by_refresh_token, is_counter_accepted
from app.verification.api_keys import verify_api_key_token
from app.verification.session_lookup import SessionState, find_session_state

if TYPE_CHECKING:
    from app.sessions.models import Session
    from app.settings import Settings
    from app.unit_of_work import UnitOfWork

LEEWAY = timedelta(seconds=30)
STRING_CLAIMS = ("iss", "aud", "sub", "sid", "jti", "client_id", "scope")
INTEGER_CLAIMS = ("exp", "iat", "ep", "rv")
MAX_TIMESTAMP = 253402300799  # the last second of the year 9999; what lies beyond is no date


def verify_access_token(work: UnitOfWork, token: str) -> Principal:
    """Whose access token this is. Raises Unauthenticated when it is not, or no longer, good."""
    return verify_claims(work, decode_access_token(work, token))


def decode_access_token(work: UnitOfWork, token: str) -> Claims:
    """What a token says that we issued and that is in force; whether it was revoked is not asked here. Raises Unauthenticated."""
    try:
        claims = work.signing_keys.verify(JWT_TYP, token)
    except TokenRejected:
        raise Unauthenticated from None
    if (
        not is_well_formed(claims)
        or not is_within_validity(claims, work.now)
        or not has_expected_issuer(claims, work.settings)
    ):
        raise Unauthenticated
    return claims


def verify_claims(work: UnitOfWork, claims: Claims) -> Principal:
    """Whose token these are the claims of. Raises Unauthenticated when it was revoked."""
    session_id, account_id, epoch = claims["sid"], claims["sub"], claims["ep"]
    expires_at = datetime.fromtimestamp(claims["exp"], UTC)
    scopes = claims["scope"].split()
    if is_id("key", session_id):
        return verify_api_key_token(
            work,
            key_id=session_id,
            account_id=account_id,
            scopes=scopes,
            mark=claims.get(FINGERPRINT_CLAIM),
            expires_at=expires_at,
        )
    seen = get_cached_session(
        work.cache,
        account_id,
        session_id,
        now=work.now,
        epoch=epoch,
        global_epoch=work.signing_keys.global_epoch,
    )
    if seen.verdict is Verdict.REVOKED:
        raise Unauthenticated
    if seen.verdict is Verdict.UNKNOWN:
        found = _require_live_session(work, session_id, epoch=epoch)
        if found.account_id != account_id:
            raise Unauthenticated
        seen = CachedSession(Verdict.VALID, found.username, found.roles, found.roles_version)
    return Principal(
        account_id=account_id,
        username=seen.username,
        kind=CredentialKind.SESSION,
        session_id=session_id,
        expires_at=expires_at,
        auth_time=datetime.fromtimestamp(claims["auth_time"], UTC)
        if "auth_time" in claims
        else None,
        scopes=narrow_scopes(scopes, list_scopes(work.settings, seen.roles)),
        roles=_choose_roles(claims, seen),
        client_id=claims["client_id"],
        epoch=epoch,
    )


def _choose_roles(claims: Claims, seen: CachedSession) -> tuple[str, ...]:
    """The roles of now: those in the token, if nothing has changed since, for it may name those of one resource too."""
    if claims["rv"] == seen.roles_version and "roles_truncated" not in claims:
        return tuple(claims["roles"])
    return exclude_admin(seen.roles) if NARROWED_CLAIM in claims else seen.roles


def verify_refresh_token(work: UnitOfWork, token: str) -> Principal:
    """Whose refresh token this is, for ending its session when no access token is left. Raises Unauthenticated.

    One that was used up long ago opens nothing here either: it may be a copy.
    """
    with work.open_autocommit_session() as db:
        try:
            session, counter = get_session_by_refresh_token(db, work.settings.secret_key, token)
        except InvalidGrant:
            raise Unauthenticated from None
    if not is_counter_accepted(session, counter, work.now):
        raise Unauthenticated
    return verify_session(work, session)


def verify_session(work: UnitOfWork, session: Session) -> Principal:
    """Whose session it is, with what may be done in it now. Raises Unauthenticated when it is over."""
    found = _require_live_session(work, session.id, epoch=session.account_epoch)
    return Principal(
        account_id=found.account_id,
        username=found.username,
        kind=CredentialKind.SESSION,
        session_id=session.id,
        expires_at=session.expires_at,
        auth_time=session.auth_time,  # of the row that the credential was compared with: what is typed meanwhile is its successor's
        scopes=get_session_scopes(work, session, found.roles),
        roles=get_session_roles(session, found.roles),
        client_id=session.effective_client_id,
        epoch=found.current_account_epoch,
    )


def is_well_formed(claims: Claims) -> bool:
    """Is every claim there, and of its type? (RFC 9068 section 2.2)"""
    return (
        all(isinstance(claims.get(name), str) for name in STRING_CLAIMS)
        and all(
            type(claims.get(name)) is int and 0 <= claims[name] <= MAX_TIMESTAMP
            for name in INTEGER_CLAIMS
        )
        and type(claims.get("nbf", 0)) is int
        and isinstance(claims.get("roles"), list)
        and all(isinstance(role, str) for role in claims["roles"])
        and (is_id("key", claims["sid"]) or is_id("ses", claims["sid"]))
        # There where a password was typed: not by a key, and not in a session that was let in from another device.
        and (
            "auth_time" not in claims
            or (type(claims["auth_time"]) is int and 0 <= claims["auth_time"] <= MAX_TIMESTAMP)
        )
        and is_id("acc", claims["sub"])
    )


def is_within_validity(claims: Claims, now: datetime) -> bool:
    """Is it in force? Leeway for clocks that are a little apart."""
    seconds, leeway = now.timestamp(), LEEWAY.total_seconds()
    return bool(
        claims["exp"] > seconds - leeway
        and claims["iat"] <= seconds + leeway
        and claims.get("nbf", 0) <= seconds + leeway
    )


def has_expected_issuer(claims: Claims, settings: Settings) -> bool:
    """Did we issue it, for ourselves? Exactly, letter by letter."""
    return bool(claims["iss"] == settings.issuer and claims["aud"] == settings.audience)


def _require_live_session(work: UnitOfWork, session_id: str, *, epoch: int) -> SessionState:
    """What the database says of a session that lives, remembered from now on. Raises Unauthenticated."""
    found = find_session_state(work, session_id)
    if found is None or not found.is_live(work.now, epoch=epoch):
        raise Unauthenticated
    cache_session(
        work.cache,
        account_id=found.account_id,
        session_id=session_id,
        username=found.username,
        roles=found.roles,
        epoch=found.current_account_epoch,
        roles_version=found.roles_version,
        global_epoch=found.current_global_epoch,
        ends_at=found.expires_at,
    )
    return found
