"""The check of API keys, and of tokens that one was traded for.

Warm it is two round trips: the key's record with its limit, and its owner. A key lives as long as neither it nor its owner has
ended; it may do what it was given and its owner may do now, and it has no roles.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.adapters.rate_limiter import Exceeded, windows
from app.api_keys.models import PREFIX
from app.attempts.errors import TooManyRequests
from app.errors import Unauthenticated
from app.gateway.key_liveness import look_up_key
from app.opaque_tokens import digest, find
from app.principal import Kind, Principal
from app.revocation.key_view import KeyRecord, Use, owner, remember_key, use
from app.revocation.view import ACTIVE, remember_account
from app.roles.scopes import narrowed, scopes_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.gateway.key_liveness import KeyLiveness
    from app.unit_of_work import UnitOfWork

POLICY = "key"


def looks_like_a_key(text: str) -> bool:
    """Is it meant as one? Whether it is any good is not asked here."""
    return text.startswith(f"{PREFIX}_")


def verify_api_key(work: UnitOfWork, key: str) -> Principal:
    """Whose key this is. Raises Unauthenticated when it is not, or no longer, good, and TooManyRequests."""
    key_id = find(PREFIX, "key", key)
    if key_id is None:
        raise Unauthenticated  # junk costs no read
    shown, limits = digest(key), windows(work.settings.limit_key)
    seen = use(work.cache, key_id, digest=shown, limits=limits)
    record, found = seen.record, None
    if record is None:
        found = _look_up(work, key_id, seen)
        record = found.record
    if not _fits(record, shown, work.now) or not record.lives(work.now.timestamp()):
        raise Unauthenticated
    if found is not None:
        seen = _counted(work, key_id, shown)
    if seen.exceeded:
        limit = limits[seen.exceeded - 1]
        raise TooManyRequests(POLICY, Exceeded(limit.amount, limit.seconds, seen.reset))
    work.key_uses.note(key_id, work.now)
    return _principal(work, key_id, record, found)


def verify_key_token(work: UnitOfWork, *, key_id: str, account_id: str, scopes: Iterable[str], expires_at: datetime) -> Principal:
    """Whose token this is, that a key was traded for: it lives no longer than the key. Raises Unauthenticated."""
    seen = use(work.cache, key_id, digest="", limits=())
    found = _look_up(work, key_id, seen) if seen.record is None else None
    record = found.record if found is not None else seen.record
    if record is None or record.account_id != account_id or not record.lives(work.now.timestamp()):
        raise Unauthenticated
    principal = _principal(work, key_id, record, found)
    return Principal(
        account_id=principal.account_id,
        username=principal.username,
        kind=Kind.API_KEY,
        session_id="",
        key_id=key_id,
        expires_at=expires_at,
        auth_time=None,
        scopes=narrowed(scopes, principal.scopes),
    )


def _look_up(work: UnitOfWork, key_id: str, seen: Use) -> KeyLiveness:
    """What the database says, remembered from now on. Raises Unauthenticated when the key or its owner has ended."""
    found = look_up_key(work, key_id) if not seen.ended else None
    if found is None or not found.counts:
        raise Unauthenticated
    remember_key(work.cache, key_id, found.record)
    _remember_owner(work, found)
    return found


def _remember_owner(work: UnitOfWork, found: KeyLiveness) -> None:
    remember_account(
        work.cache,
        account_id=found.account_id,
        username=found.username,
        roles=found.roles,
        epoch=found.epoch,
        roles_version=found.roles_version,
    )


def _counted(work: UnitOfWork, key_id: str, shown: str) -> Use:
    """Count a use that the first look could not. Without Redis each process counts its share."""
    again = use(work.cache, key_id, digest=shown, limits=windows(work.settings.limit_key))
    if again.record is not None or again.ended:
        return again
    exceeded = work.limiter.hit_here(work.settings.limit_key, POLICY, key_id)
    if exceeded is not None:
        raise TooManyRequests(POLICY, exceeded)
    return again


def _fits(record: KeyRecord, shown: str, now: datetime) -> bool:
    """Is it the secret, or the one before it while that still counts? In constant time."""
    old = record.old_digest is not None and record.old_until is not None and now.timestamp() < record.old_until
    return hmac.compare_digest(shown, record.digest) or (old and hmac.compare_digest(shown, record.old_digest or ""))


def _principal(work: UnitOfWork, key_id: str, record: KeyRecord, found: KeyLiveness | None) -> Principal:
    username, roles = _owner(work, key_id, record.account_id, found)
    return Principal(
        account_id=record.account_id,
        username=username,
        kind=Kind.API_KEY,
        session_id="",
        key_id=key_id,
        expires_at=datetime.fromtimestamp(record.expires, UTC) if record.expires is not None else None,
        auth_time=None,
        scopes=narrowed(record.scopes, scopes_of(work.settings, roles)),
    )


def _owner(work: UnitOfWork, key_id: str, account_id: str, found: KeyLiveness | None) -> tuple[str, tuple[str, ...]]:
    """The owner's name and roles of now. Raises Unauthenticated when the owner is not active."""
    if found is None:
        seen = owner(work.cache, account_id)
        if seen is not None and seen.username is not None and seen.status == ACTIVE:
            return seen.username, seen.roles
        found = look_up_key(work, key_id)
        if found is None or not found.counts:
            raise Unauthenticated
        _remember_owner(work, found)
    return found.username, found.roles
