"""Verify API keys, and access tokens that were issued to an API key.

With a warm cache a check costs two Redis round trips: the key's entry with its rate limit, and the
account. A key is valid while neither it nor its account is revoked. Its scopes are limited to those
that the account has now, and it has no roles.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.adapters.rate_limiter import ExceededLimit, parse_windows
from app.api_keys.models import PREFIX
from app.authorization.rights import list_scopes, narrow_scopes
from app.credential_status.api_key_cache import (
    ApiKeyEntry,
    ApiKeyUse,
    cache_api_key,
    find_cached_account,
    record_api_key_use,
)
from app.credential_status.session_cache import ACTIVE_ACCOUNT, cache_account
from app.errors import Unauthenticated
from app.opaque_tokens import compute_digest, parse_row_id
from app.principal import CredentialKind, Principal
from app.rate_limits.errors import TooManyRequests
from app.sessions.tokens import FINGERPRINT_CLAIM, build_secret_fingerprint
from app.verification.api_key_lookup import find_api_key_state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.adapters.jwt import Claims
    from app.adapters.rate_limiter import RateLimitWindow
    from app.credential_status.session_cache import AccountEntry
    from app.settings import Settings
    from app.unit_of_work import UnitOfWork
    from app.verification.api_key_lookup import ApiKeyState

RATE_LIMIT_POLICY = "key"


@dataclass(frozen=True, slots=True)
class CheckedKey:
    """A valid key, with the current username and roles of its account."""

    entry: ApiKeyEntry
    username: str
    roles: tuple[str, ...]


def verify_api_key(work: UnitOfWork, key: str) -> Principal:
    """Return the principal of an API key and count the use.

    Raises Unauthenticated if the key is invalid, expired or revoked, and TooManyRequests.
    """
    key_id = parse_row_id(PREFIX, "key", key)
    if key_id is None:
        raise Unauthenticated  # a malformed key costs no read
    digest, limits = compute_digest(key), parse_windows(work.settings.limit_key)
    use = record_api_key_use(work.cache, key_id, digest=digest, now=work.now, limits=limits)
    checked = _require_key(work, key_id, use, digest=digest)
    if use.entry is None:
        use, checked = _count_first_use(work, key_id, checked, digest=digest)
    require_within_limits(use, limits)
    work.api_key_usage.record(key_id, work.now)
    return build_api_key_principal(work.settings, key_id, checked)


def build_api_key_principal(settings: Settings, key_id: str, checked: CheckedKey) -> Principal:
    """Build the principal of a valid API key."""
    expires = checked.entry.expires
    return Principal(
        account_id=checked.entry.account_id,
        username=checked.username,
        kind=CredentialKind.API_KEY,
        session_id="",
        key_id=key_id,
        expires_at=None if expires is None else datetime.fromtimestamp(expires, UTC),
        auth_time=None,
        scopes=_get_current_scopes(settings, checked),
    )


def verify_api_key_token(work: UnitOfWork, claims: Claims) -> Principal:
    """Return the principal of an access token issued to an API key, from its checked claims.

    Raises Unauthenticated if the key is no longer valid, or if the secret that the token was issued
    for was rotated out: a leaked secret must not leave usable tokens behind.
    """
    key_id = claims["sid"]
    use = record_api_key_use(work.cache, key_id, digest="", now=work.now, limits=())
    checked = _require_key(work, key_id, use)
    return build_api_key_token_principal(work.settings, claims, checked, work.now)


def build_api_key_token_principal(
    settings: Settings, claims: Claims, checked: CheckedKey, now: datetime
) -> Principal:
    """Build the principal of a token that was issued to a valid API key. Raises Unauthenticated."""
    fingerprints = {
        build_secret_fingerprint(digest)
        for digest in checked.entry.list_valid_digests(now.timestamp())
    }
    if (
        checked.entry.account_id != claims["sub"]
        or claims.get(FINGERPRINT_CLAIM) not in fingerprints
    ):
        raise Unauthenticated
    return Principal(
        account_id=checked.entry.account_id,
        username=checked.username,
        kind=CredentialKind.API_KEY,
        session_id="",
        key_id=claims["sid"],
        expires_at=datetime.fromtimestamp(claims["exp"], UTC),
        auth_time=None,
        scopes=narrow_scopes(claims["scope"].split(), _get_current_scopes(settings, checked)),
        token_id=claims["jti"],
        issued_at=datetime.fromtimestamp(claims["iat"], UTC),
    )


def _require_key(
    work: UnitOfWork, key_id: str, use: ApiKeyUse, *, digest: str | None = None
) -> CheckedKey:
    """Return the key from the cache or the database. Raises Unauthenticated unless it is valid.

    If the first entry found does not match the secret, the key is rejected without further reads.
    """
    if use.is_revoked:
        raise Unauthenticated
    if use.entry is not None:
        require_valid(use.entry, digest, work.now)
        checked = build_checked_key(
            use.entry, find_cached_account(work.cache, use.entry.account_id)
        )
        if checked is not None:
            return checked
    state = find_api_key_state(work, key_id)
    if state is None or not state.is_usable:
        raise Unauthenticated
    _store_in_cache(work, key_id, state)
    require_valid(state.cache_entry, digest, work.now)
    return CheckedKey(state.cache_entry, state.username, state.roles)


def build_checked_key(entry: ApiKeyEntry, account: AccountEntry | None) -> CheckedKey | None:
    """Return the key with its account, or None if the cache does not hold an active account."""
    if account is None or account.username is None or account.status != ACTIVE_ACCOUNT:
        return None
    return CheckedKey(entry, account.username, account.roles)


def require_valid(entry: ApiKeyEntry, digest: str | None, now: datetime) -> None:
    """Raise Unauthenticated if the key has expired, or if a digest is given that does not match."""
    seconds = now.timestamp()
    if not entry.is_live(seconds) or not (digest is None or entry.accepts_digest(digest, seconds)):
        raise Unauthenticated


def require_within_limits(use: ApiKeyUse, limits: Sequence[RateLimitWindow]) -> None:
    """Raise TooManyRequests if this use exceeded a rate limit."""
    if use.exceeded_limit:
        limit = limits[use.exceeded_limit - 1]
        raise TooManyRequests(
            RATE_LIMIT_POLICY, ExceededLimit(limit.amount, limit.seconds, use.reset_after)
        )


def _store_in_cache(work: UnitOfWork, key_id: str, state: ApiKeyState) -> None:
    cache_api_key(work.cache, key_id, state.cache_entry)
    cache_account(
        work.cache,
        account_id=state.account_id,
        username=state.username,
        roles=state.roles,
        epoch=state.epoch,
        roles_version=state.roles_version,
    )


def _count_first_use(
    work: UnitOfWork, key_id: str, checked: CheckedKey, *, digest: str
) -> tuple[ApiKeyUse, CheckedKey]:
    """Count the use of a key that was not in the cache until now.

    If the cache entry says that the key was revoked or changed in the meantime, the entry decides.
    Without Redis each process counts its own share. Raises Unauthenticated or TooManyRequests.
    """
    limits = parse_windows(work.settings.limit_key)
    use = record_api_key_use(work.cache, key_id, digest=digest, now=work.now, limits=limits)
    if use.is_revoked:
        raise Unauthenticated
    if use.entry is None:
        exceeded = work.limiter.hit_locally(work.settings.limit_key, RATE_LIMIT_POLICY, key_id)
        if exceeded is not None:
            raise TooManyRequests(RATE_LIMIT_POLICY, exceeded)
        return use, checked
    require_valid(use.entry, digest, work.now)
    return use, CheckedKey(use.entry, checked.username, checked.roles)


def _get_current_scopes(settings: Settings, checked: CheckedKey) -> tuple[str, ...]:
    """Return the key's scopes that its account still has."""
    return narrow_scopes(checked.entry.scopes, list_scopes(settings, checked.roles))
