"""The check of API keys, and of tokens that one was traded for.

Warm it is two round trips: the key's record with its limit, and its owner. A key lives as long as neither it nor its owner has
ended; it may do what it was given and its owner may do now, and it has no roles.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.adapters.rate_limiter import ExceededLimit, parse_windows
from app.api_keys.models import PREFIX
from app.authorization.scopes import list_scopes, narrow_scopes
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
from app.sessions.access_tokens import build_secret_fingerprint
from app.verification.api_key_lookup import find_api_key_state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.unit_of_work import UnitOfWork
    from app.verification.api_key_lookup import ApiKeyState

RATE_LIMIT_POLICY = "key"


@dataclass(frozen=True, slots=True)
class _CheckedKey:
    """A key that counts, and its owner of now."""

    record: ApiKeyEntry
    username: str
    roles: tuple[str, ...]


def has_api_key_prefix(text: str) -> bool:
    """Is it meant as one? Whether it is any good is not asked here."""
    return text.startswith(f"{PREFIX}_")


def verify_api_key(work: UnitOfWork, key: str) -> Principal:
    """Whose key this is. Raises Unauthenticated when it is not, or no longer, good, and TooManyRequests."""
    key_id = parse_row_id(PREFIX, "key", key)
    if key_id is None:
        raise Unauthenticated  # junk costs no read
    shown, limits = compute_digest(key), parse_windows(work.settings.limit_key)
    seen = record_api_key_use(work.cache, key_id, digest=shown, now=work.now, limits=limits)
    known = _require_key(work, key_id, seen, secret_digest=shown)
    if seen.entry is None:
        seen, known = _count_use(work, key_id, known, secret_digest=shown)
    if seen.exceeded_limit:
        limit = limits[seen.exceeded_limit - 1]
        raise TooManyRequests(
            RATE_LIMIT_POLICY, ExceededLimit(limit.amount, limit.seconds, seen.reset_after)
        )
    work.api_key_usage.record(key_id, work.now)
    ends_at = (
        datetime.fromtimestamp(known.record.expires, UTC)
        if known.record.expires is not None
        else None
    )
    return _build_principal(key_id, known, scopes=_limit_scopes(work, known), expires_at=ends_at)


def verify_api_key_token(
    work: UnitOfWork,
    *,
    key_id: str,
    account_id: str,
    scopes: Iterable[str],
    mark: object,
    expires_at: datetime,
) -> Principal:
    """Whose token this is, that a key was traded for: it lives no longer than the key, nor than the secret. Raises Unauthenticated.

    `mark` says which secret that was: one that was rotated away, because it had leaked, takes its tokens with it.
    """
    known = _require_key(
        work, key_id, record_api_key_use(work.cache, key_id, digest="", now=work.now, limits=())
    )
    of_secrets = {
        build_secret_fingerprint(digest)
        for digest in known.record.list_valid_digests(work.now.timestamp())
    }
    if known.record.account_id != account_id or mark not in of_secrets:
        raise Unauthenticated
    return _build_principal(
        key_id,
        known,
        scopes=narrow_scopes(scopes, _limit_scopes(work, known)),
        expires_at=expires_at,
    )


def _require_key(
    work: UnitOfWork, key_id: str, seen: ApiKeyUse, *, secret_digest: str | None = None
) -> _CheckedKey:
    """What is remembered, or else what the database says, if the key counts. Raises Unauthenticated.

    A wrong secret is refused by whichever record was there, before anything else is asked.
    """
    if seen.is_revoked:
        raise Unauthenticated
    if seen.entry is not None:
        _require_valid(work, seen.entry, secret_digest)
        holder = find_cached_account(work.cache, seen.entry.account_id)
        if holder is not None and holder.username is not None and holder.status == ACTIVE_ACCOUNT:
            return _CheckedKey(seen.entry, holder.username, holder.roles)
    found = find_api_key_state(work, key_id)
    if found is None or not found.is_usable:
        raise Unauthenticated
    _store_in_cache(work, key_id, found)
    _require_valid(work, found.record, secret_digest)
    return _CheckedKey(found.record, found.username, found.roles)


def _require_valid(work: UnitOfWork, record: ApiKeyEntry, secret_digest: str | None) -> None:
    """Is it in force, and is the secret one of its own? A token that the key was traded for shows none. Raises Unauthenticated."""
    seconds = work.now.timestamp()
    if not record.is_live(seconds) or not (
        secret_digest is None or record.accepts_digest(secret_digest, seconds)
    ):
        raise Unauthenticated


def _store_in_cache(work: UnitOfWork, key_id: str, found: ApiKeyState) -> None:
    cache_api_key(work.cache, key_id, found.record)
    cache_account(
        work.cache,
        account_id=found.account_id,
        username=found.username,
        roles=found.roles,
        epoch=found.epoch,
        roles_version=found.roles_version,
    )


def _count_use(
    work: UnitOfWork, key_id: str, known: _CheckedKey, *, secret_digest: str
) -> tuple[ApiKeyUse, _CheckedKey]:
    """Count a use that the first look could not. Raises Unauthenticated or TooManyRequests.

    Where the record was told meanwhile that the key has ended or changed, that is what counts. Without Redis each process
    counts its share.
    """
    again = record_api_key_use(
        work.cache,
        key_id,
        digest=secret_digest,
        now=work.now,
        limits=parse_windows(work.settings.limit_key),
    )
    if again.is_revoked:
        raise Unauthenticated
    if again.entry is None:
        exceeded = work.limiter.hit_locally(work.settings.limit_key, RATE_LIMIT_POLICY, key_id)
        if exceeded is not None:
            raise TooManyRequests(RATE_LIMIT_POLICY, exceeded)
        return again, known
    _require_valid(work, again.entry, secret_digest)
    return again, _CheckedKey(again.entry, known.username, known.roles)


def _limit_scopes(work: UnitOfWork, known: _CheckedKey) -> tuple[str, ...]:
    """What the key was given, as far as its owner may do it now."""
    return narrow_scopes(known.record.scopes, list_scopes(work.settings, known.roles))


def _build_principal(
    key_id: str, known: _CheckedKey, *, scopes: tuple[str, ...], expires_at: datetime | None
) -> Principal:
    return Principal(
        account_id=known.record.account_id,
        username=known.username,
        kind=CredentialKind.API_KEY,
        session_id="",
        key_id=key_id,
        expires_at=expires_at,
        auth_time=None,
        scopes=scopes,
    )
