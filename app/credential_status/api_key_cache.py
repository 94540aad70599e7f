"""The cache of API keys in Redis, and the counters of their rate limits, in one round trip.

An entry holds digests of the secret, which are compared on every use: the id of a key alone is not
enough. A use is counted only if the secret matches, so no one else can exhaust the rate limit of a
key.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from app.adapters.cache import CacheUnavailable, Script
from app.credential_status.session_cache import (
    LEEWAY,
    MAX_ENTRY_AGE,
    READ_NUMBER,
    build_account_cache_key,
    choose_entry_ttl,
    parse_account_entry,
    parse_entry,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from app.adapters.cache import Cache
    from app.adapters.rate_limiter import RateLimitWindow
    from app.credential_status.session_cache import AccountEntry
    from app.settings import Settings

REVOKED_ENTRY = "R"

# KEYS: the key, then a counter for each limit. ARGV: the digest of the presented secret, the time,
# then amount and window in ms of each limit. Returns the entry, then 0 or the position of the
# exceeded limit, and the ms until it resets.
RECORD_USE = Script("""
local raw = redis.call('GET', KEYS[1])
if not raw or raw == 'R' then return {raw or '', 0, 0} end
local fine, record = pcall(cjson.decode, raw)
if not fine or type(record) ~= 'table' then return {raw, 0, 0} end
local old = record[4] == ARGV[1] and type(record[5]) == 'number' and record[5] > tonumber(ARGV[2])
if record[3] ~= ARGV[1] and not old then return {raw, 0, 0} end
for place = 2, #KEYS do
  local used = redis.call('INCR', KEYS[place])
  if used == 1 then redis.call('PEXPIRE', KEYS[place], ARGV[place * 2]) end
  if used > tonumber(ARGV[place * 2 - 1]) then
    return {raw, place - 1, redis.call('PTTL', KEYS[place])}
  end
end
return {raw, 0, 0}
""")

# KEYS: the key. ARGV: entry, its version, TTL in ms, 1 to replace an entry of the same version.
FILL_API_KEY = Script(
    READ_NUMBER
    + """
local held = redis.call('GET', KEYS[1])
if held == 'R' then return 0 end
local version = number(held, 1)
local new = tonumber(ARGV[2])
if version and (version > new or (version == new and ARGV[4] == '0')) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return 1
"""
)


@dataclass(frozen=True, slots=True)
class ApiKeyEntry:
    """An API key as cached. Every field is checked on each use."""

    version: int
    account_id: str
    digest: str
    old_digest: str | None
    old_until: float | None
    scopes: tuple[str, ...]
    expires: float | None

    def is_live(self, seconds: float) -> bool:
        """Return whether the key has not expired. `seconds` is a Unix time."""
        return self.expires is None or seconds < self.expires

    def accepts_digest(self, shown: str, seconds: float) -> bool:
        """Return whether the digest matches the current or the still valid previous secret.

        Compares in constant time.
        """
        # Not any(), which would take longer if only the second digest matches.
        return (
            sum(hmac.compare_digest(shown, digest) for digest in self.list_valid_digests(seconds))
            > 0
        )

    def list_valid_digests(self, seconds: float) -> tuple[str, ...]:
        """Return the digests of the secrets that are valid at that Unix time."""
        if self.old_digest is None or self.old_until is None or seconds >= self.old_until:
            return (self.digest,)
        return (self.digest, self.old_digest)


@dataclass(frozen=True, slots=True)
class ApiKeyUse:
    """The result of a cache lookup: no entry, a revoked key, or its entry.

    `exceeded_limit` is the position of the exceeded rate limit, counted from 1, or 0.
    """

    entry: ApiKeyEntry | None = None
    is_revoked: bool = False
    exceeded_limit: int = 0
    reset_after: int = 0  # seconds


UNKNOWN_API_KEY = ApiKeyUse()


def build_api_key_cache_key(key_id: str) -> str:
    return f"dw1:{{{key_id}}}"


def record_api_key_use(
    cache: Cache, key_id: str, *, digest: str, now: datetime, limits: Sequence[RateLimitWindow]
) -> ApiKeyUse:
    """Look up a key and, if the secret matches, count one use.

    Without a complete entry, returns UNKNOWN_API_KEY.
    """
    if not cache.is_configured or not cache.is_trusted:
        return UNKNOWN_API_KEY
    keys, arguments = build_use_arguments(key_id, digest=digest, now=now, limits=limits)
    try:
        return parse_use(cache.run_script(RECORD_USE, keys, arguments))
    except CacheUnavailable:
        return UNKNOWN_API_KEY


def build_use_arguments(
    key_id: str, *, digest: str, now: datetime, limits: Sequence[RateLimitWindow]
) -> tuple[list[str], list[str | int]]:
    """Return KEYS and ARGV of RECORD_USE."""
    counters = [f"{build_api_key_cache_key(key_id)}:n:{limit.seconds}" for limit in limits]
    numbers = [number for limit in limits for number in (limit.amount, limit.seconds * 1000)]
    return ([build_api_key_cache_key(key_id), *counters], [digest, repr(now.timestamp()), *numbers])


def parse_use(reply: object) -> ApiKeyUse:
    """Parse the reply of RECORD_USE. An entry that cannot be read counts as missing."""
    match reply:
        case [bytes(raw), int(exceeded), int(reset)]:
            return ApiKeyUse(
                _parse_entry(raw),
                raw == REVOKED_ENTRY.encode(),
                exceeded,
                max(1, -(-reset // 1000)),
            )
    return UNKNOWN_API_KEY


def find_cached_account(cache: Cache, account_id: str) -> AccountEntry | None:
    """Return the cached account of a key's owner, None if the database must be asked."""
    if not cache.is_configured or not cache.is_trusted:
        return None
    try:
        (raw,) = cache.get_many(build_account_cache_key(account_id))
    except CacheUnavailable:
        return None
    return parse_account_entry(raw)


def cache_api_key(cache: Cache, key_id: str, record: ApiKeyEntry) -> None:
    """Cache a live key that was just read from the database. Ignores an unavailable cache."""
    if not cache.is_configured:
        return
    try:
        cache.run_script(
            FILL_API_KEY,
            [build_api_key_cache_key(key_id)],
            [_serialize_entry(record), record.version, choose_entry_ttl(), 1],
        )
    except CacheUnavailable:
        return


def mark_api_key_changed(
    cache: Cache,
    settings: Settings,
    *,
    key_id: str,
    version: int,
    is_revoked: bool,
    patient: bool = False,
) -> None:
    """Invalidate the cached entries of older versions of a key. Raises CacheUnavailable."""
    life = int((settings.access_token_ttl + LEEWAY + MAX_ENTRY_AGE).total_seconds() * 1000)
    if is_revoked:
        cache.call(
            lambda client: client.set(build_api_key_cache_key(key_id), REVOKED_ENTRY, px=life),
            bypass_breaker=patient,
        )
        return
    cache.run_script(
        FILL_API_KEY,
        [build_api_key_cache_key(key_id)],
        [json.dumps([version]), version, life, 0],
        bypass_breaker=patient,
    )


def _serialize_entry(record: ApiKeyEntry) -> str:
    return json.dumps(
        [
            record.version,
            record.account_id,
            record.digest,
            record.old_digest,
            record.old_until,
            list(record.scopes),
            record.expires,
        ]
    )


@lru_cache(maxsize=1024)
def _parse_entry(raw: bytes) -> ApiKeyEntry | None:
    match parse_entry(raw or None):
        case [
            int(version),
            str(account_id),
            str(digest),
            str() | None as old_digest,
            int() | float() | None as old_until,
            [*scopes],
            int() | float() | None as expires,
        ]:
            return ApiKeyEntry(
                version, account_id, digest, old_digest, old_until, tuple(map(str, scopes)), expires
            )
    return None
