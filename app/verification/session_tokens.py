"""Verify access tokens, refresh tokens and page cookies.

An access token passes four checks: format, signature, claims at `work.now`, and revocation. If a
check cannot be carried out, the error is the service's own: never an acceptance and never a 401.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from app.adapters.jwt import Claims, SigningKeySet, TokenRejected
from app.authorization.rights import list_scopes, narrow_scopes
from app.credential_status.session_cache import (
    CachedSession,
    Verdict,
    cache_session,
    get_cached_session,
)
from app.errors import Unauthenticated
from app.opaque_tokens import is_id
from app.principal import CredentialKind, Principal
from app.sessions.errors import InvalidGrant
from app.sessions.refresh import get_session_by_refresh_token, is_counter_accepted
from app.sessions.signed_handles import find_session_by_page_cookie
from app.sessions.tokens import (
    JWT_TYP,
    NARROWED_CLAIM,
    exclude_admin,
    get_session_roles,
    get_session_scopes,
)
from app.verification.api_keys import verify_api_key_token
from app.verification.session_lookup import SessionState, find_session_state

if TYPE_CHECKING:
    from app.sessions.models import Session
    from app.settings import Settings
    from app.unit_of_work import UnitOfWork

LEEWAY = timedelta(seconds=30)  # for clocks that differ a little
STRING_CLAIMS = ("iss", "aud", "sub", "sid", "jti", "client_id", "scope")
INTEGER_CLAIMS = ("exp", "iat", "ep", "rv")
MAX_TIMESTAMP = 253402300799  # 9999-12-31T23:59:59Z, the last second that a datetime can represent


def verify_access_token(work: UnitOfWork, token: str) -> Principal:
    """Return the principal of an access token.

    Raises Unauthenticated if the token is invalid, expired or revoked.
    """
    claims = decode_access_token(work.signing_keys, work.settings, token, work.now)
    if is_id("key", claims["sid"]):
        return verify_api_key_token(work, claims)
    return _verify_session_claims(work, claims)


def decode_access_token(
    signing_keys: SigningKeySet, settings: Settings, token: str, now: datetime
) -> Claims:
    """Return the claims of a valid token, without a check for revocation.

    Raises Unauthenticated.
    """
    try:
        claims = signing_keys.verify(
            JWT_TYP,
            token,
            is_acceptable=lambda claims: (
                is_well_formed(claims)
                and is_within_validity(claims, now)
                and has_expected_issuer(claims, settings)
            ),
        )
    except TokenRejected:
        raise Unauthenticated from None
    # A remembered token may have expired since.
    if not is_within_validity(claims, now):
        raise Unauthenticated
    return claims


def _verify_session_claims(work: UnitOfWork, claims: Claims) -> Principal:
    """Return the principal of a session's token.

    Raises Unauthenticated if the session is not live.
    """
    session_id, account_id, epoch = claims["sid"], claims["sub"], claims["ep"]
    cached = get_cached_session(
        work.cache,
        account_id,
        session_id,
        now=work.now,
        epoch=epoch,
        global_epoch=work.signing_keys.global_epoch,
    )
    if cached.verdict is Verdict.REVOKED:
        raise Unauthenticated
    if cached.verdict is Verdict.UNKNOWN:
        state = _require_live_session(work, session_id, epoch=epoch)
        if state.account_id != account_id:
            raise Unauthenticated
        cached = CachedSession(Verdict.VALID, state.username, state.roles, state.roles_version)
    return build_session_principal(work.settings, claims, cached)


def build_session_principal(settings: Settings, claims: Claims, cached: CachedSession) -> Principal:
    """Build the principal of an access token whose session is live."""
    auth_time = claims.get("auth_time")
    return Principal(
        account_id=claims["sub"],
        username=cached.username,
        kind=CredentialKind.SESSION,
        session_id=claims["sid"],
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        auth_time=None if auth_time is None else datetime.fromtimestamp(auth_time, UTC),
        scopes=narrow_scopes(claims["scope"].split(), list_scopes(settings, cached.roles)),
        roles=_get_current_roles(claims, cached),
        token_id=claims["jti"],
        issued_at=datetime.fromtimestamp(claims["iat"], UTC),
        client_id=claims["client_id"],
        epoch=claims["ep"],
    )


def _get_current_roles(claims: Claims, cached: CachedSession) -> tuple[str, ...]:
    # The token may also contain roles in a resource, so it is preferred while nothing changed.
    if claims["rv"] == cached.roles_version and "roles_truncated" not in claims:
        return tuple(claims["roles"])
    return exclude_admin(cached.roles) if NARROWED_CLAIM in claims else cached.roles


def verify_refresh_token(work: UnitOfWork, token: str) -> Principal:
    """Return the principal of a refresh token, to log out without an access token.

    Raises Unauthenticated, also for a token that was used before the grace period: it may be a
    copy.
    """
    with work.open_autocommit_session() as db:
        try:
            session, counter = get_session_by_refresh_token(db, work.settings.secret_key, token)
        except InvalidGrant:
            raise Unauthenticated from None
    if not is_counter_accepted(session, counter, work.now):
        raise Unauthenticated
    return _verify_session(work, session)


def verify_page_cookie(work: UnitOfWork, cookie: str) -> Principal:
    """Return the principal of a page cookie.

    Raises Unauthenticated if it is invalid or replaced.
    """
    with work.open_autocommit_session() as db:
        session = find_session_by_page_cookie(db, work.settings.secret_key, cookie)
    if session is None:
        raise Unauthenticated
    return _verify_session(work, session)


def _verify_session(work: UnitOfWork, session: Session) -> Principal:
    """Return the principal of a session. Raises Unauthenticated if the session is not live."""
    state = _require_live_session(work, session.id, epoch=session.account_epoch)
    return Principal(
        account_id=state.account_id,
        username=state.username,
        kind=CredentialKind.SESSION,
        session_id=session.id,
        expires_at=session.expires_at,
        # From the row that the credential was compared with. A later authentication replaces the
        # credential, so it must not count for this one.
        auth_time=session.auth_time,
        scopes=get_session_scopes(work, session, state.roles),
        roles=get_session_roles(session, state.roles),
        client_id=session.effective_client_id,
        epoch=state.current_account_epoch,
    )


def _require_live_session(work: UnitOfWork, session_id: str, *, epoch: int) -> SessionState:
    """Read a live session from the database and cache it. Raises Unauthenticated."""
    state = find_session_state(work, session_id)
    if state is None or not state.is_live(work.now, epoch=epoch):
        raise Unauthenticated
    cache_session(
        work.cache,
        account_id=state.account_id,
        session_id=session_id,
        username=state.username,
        roles=state.roles,
        epoch=state.current_account_epoch,
        roles_version=state.roles_version,
        global_epoch=state.current_global_epoch,
        ends_at=state.expires_at,
    )
    return state


def is_well_formed(claims: Claims) -> bool:
    """Return whether every claim is present and of its type (RFC 9068 section 2.2)."""
    return (
        all(isinstance(claims.get(name), str) for name in STRING_CLAIMS)
        and all(_is_timestamp(claims.get(name)) for name in INTEGER_CLAIMS)
        and type(claims.get("nbf", 0)) is int
        and isinstance(claims.get("roles"), list)
        and all(isinstance(role, str) for role in claims["roles"])
        and (is_id("key", claims["sid"]) or is_id("ses", claims["sid"]))
        # Absent for API keys and for sessions of device logins.
        and ("auth_time" not in claims or _is_timestamp(claims["auth_time"]))
        and is_id("acc", claims["sub"])
    )


def _is_timestamp(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_TIMESTAMP


def is_within_validity(claims: Claims, now: datetime) -> bool:
    """Return whether the token is valid at this time, with leeway for clock skew."""
    seconds, leeway = now.timestamp(), LEEWAY.total_seconds()
    return bool(
        claims["exp"] > seconds - leeway
        and claims["iat"] <= seconds + leeway
        and claims.get("nbf", 0) <= seconds + leeway
    )


def has_expected_issuer(claims: Claims, settings: Settings) -> bool:
    """Return whether issuer and audience match the settings exactly."""
    return bool(claims["iss"] == settings.issuer and claims["aud"] == settings.audience)
