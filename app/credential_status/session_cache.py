"""The cache of sessions and accounts in Redis: a warm check is one round trip and no SQL.

An entry says that a session was recently valid or is revoked; otherwise the database decides.
Scripts never replace a newer entry. All keys of an account share a hash slot.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from app.adapters.cache import CacheUnavailable, Script

if TYPE_CHECKING:
    from app.adapters.cache import Cache
    from app.settings import Settings

MAX_ENTRY_AGE = timedelta(seconds=60)
TTL_JITTER = 0.2  # share of the TTL that is randomly subtracted
LEEWAY = timedelta(seconds=30)
REVOKED_ENTRY = "R"
VALID_ENTRY = "V"
ACTIVE_ACCOUNT = "active"
CANARY_KEY = "dw1:canary"

# An entry that cannot be read, damaged or of another version, counts as missing.
READ_NUMBER = """
local function number(raw, place)
  if not raw then return nil end
  local fine, record = pcall(cjson.decode, raw)
  if fine and type(record) == 'table' and type(record[place]) == 'number' then
    return record[place]
  end
  return nil
end
"""

# KEYS: the session. ARGV: entry, its account epoch, TTL in ms.
FILL_SESSION = Script(
    READ_NUMBER
    + """
local held = redis.call('GET', KEYS[1])
if held == 'R' then return 0 end
if (number(held, 2) or -1) > tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
return 1
"""
)

# KEYS: the account. ARGV: entry, epoch, roles version, TTL in ms, 1 to replace an equal one.
FILL_ACCOUNT = Script(
    READ_NUMBER
    + """
local held = redis.call('GET', KEYS[1])
local held_epoch, held_version = number(held, 1), number(held, 2)
if held_epoch and held_version then
  local epoch, version = tonumber(ARGV[2]), tonumber(ARGV[3])
  if held_epoch > epoch or (held_epoch == epoch and held_version > version) then return 0 end
  if ARGV[5] == '0' and held_epoch == epoch and held_version == version then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
return 1
"""
)

# KEYS: the canary value. ARGV: a time in ms. The value only grows, so a smaller one means that an
# older copy of the data was restored. Returns the previous and the new value.
ADVANCE_CANARY = Script("""
local held = tonumber(redis.call('GET', KEYS[1]) or '0')
local sung = math.max(held, tonumber(ARGV[1]))
redis.call('SET', KEYS[1], string.format('%.0f', sung))
return string.format('%.0f %.0f', held, sung)
""")


class Verdict(Enum):
    VALID = auto()
    REVOKED = auto()
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class CachedSession:
    """The cached status of a session and, if it is valid, the account's name and roles."""

    verdict: Verdict
    username: str = ""
    roles: tuple[str, ...] = ()
    roles_version: int = 0
    ends: float = 0.0  # Unix time


UNKNOWN_SESSION = CachedSession(Verdict.UNKNOWN)
REVOKED_SESSION = CachedSession(Verdict.REVOKED)


def build_account_cache_key(account_id: str) -> str:
    return f"dw1:{{{account_id}}}:a"


def build_session_cache_key(account_id: str, session_id: str) -> str:
    return f"dw1:{{{account_id}}}:s:{session_id}"


def get_cached_session(
    cache: Cache, account_id: str, session_id: str, *, now: datetime, epoch: int, global_epoch: int
) -> CachedSession:
    """Return the cached status of a session in one round trip.

    `epoch` is the account epoch of the credential.
    """
    if not cache.is_configured or not cache.is_trusted:
        return UNKNOWN_SESSION
    try:
        account, session = cache.get_many(
            build_account_cache_key(account_id), build_session_cache_key(account_id, session_id)
        )
    except CacheUnavailable:
        return UNKNOWN_SESSION
    return evaluate_entries(account, session, now=now, epoch=epoch, global_epoch=global_epoch)


def evaluate_entries(
    account: bytes | None, session: bytes | None, *, now: datetime, epoch: int, global_epoch: int
) -> CachedSession:
    """Evaluate the entries of a session and its account.

    Only two complete, recent entries that agree make a session valid; otherwise the database
    decides.
    """
    if session == REVOKED_ENTRY.encode():
        return REVOKED_SESSION
    floor = parse_account_entry(account)
    if floor is None:
        return UNKNOWN_SESSION
    if epoch < floor.epoch:
        return REVOKED_SESSION  # epochs only grow, so the credential is invalid in any case
    held = _parse_session_entry(session)
    if (
        held is None
        or floor.username is None
        or floor.status != ACTIVE_ACCOUNT
        or epoch != floor.epoch
    ):
        return UNKNOWN_SESSION
    agreed = (
        held.account_epoch == floor.epoch
        and held.global_epoch == global_epoch
        and now.timestamp() < held.ends
    )
    return (
        CachedSession(Verdict.VALID, floor.username, floor.roles, floor.roles_version, held.ends)
        if agreed
        else UNKNOWN_SESSION
    )


@dataclass(frozen=True, slots=True)
class AccountEntry:
    """A cached account. Without a name it only sets a minimum epoch."""

    epoch: int
    roles_version: int
    status: str
    username: str | None
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _SessionEntry:
    account_epoch: int
    global_epoch: int
    ends: float


def parse_account_entry(raw: bytes | None) -> AccountEntry | None:
    match parse_entry(raw):
        case [int(epoch), int(roles_version), str(status), str() | None as username, [*roles]] if (
            all(isinstance(role, str) for role in roles)
        ):
            return AccountEntry(epoch, roles_version, status, username, tuple(map(str, roles)))
    return None


def _parse_session_entry(raw: bytes | None) -> _SessionEntry | None:
    match parse_entry(raw):
        case [str(kind), int(account_epoch), int(global_epoch), float() | int() as ends] if (
            kind == VALID_ENTRY
        ):
            return _SessionEntry(account_epoch, global_epoch, ends)
    return None


def parse_entry(raw: bytes | None) -> object:
    """Parse an entry. Returns None if it is damaged or of another version."""
    try:
        return json.loads(raw or b"null")
    except ValueError:
        return None


def cache_session(
    cache: Cache,
    *,
    account_id: str,
    session_id: str,
    username: str,
    roles: tuple[str, ...],
    epoch: int,
    roles_version: int,
    global_epoch: int,
    ends_at: datetime,
) -> None:
    """Cache a live session that was just read. Ignores an unavailable cache."""
    if not cache.is_configured:
        return
    session = json.dumps([VALID_ENTRY, epoch, global_epoch, ends_at.timestamp()])
    try:
        cache.run_script(
            FILL_SESSION,
            [build_session_cache_key(account_id, session_id)],
            [session, epoch, choose_entry_ttl()],
        )
    except CacheUnavailable:
        return
    cache_account(
        cache,
        account_id=account_id,
        username=username,
        roles=roles,
        epoch=epoch,
        roles_version=roles_version,
    )


def cache_account(
    cache: Cache,
    *,
    account_id: str,
    username: str,
    roles: tuple[str, ...],
    epoch: int,
    roles_version: int,
) -> None:
    """Cache an active account that was just read. Ignores an unavailable cache."""
    if not cache.is_configured:
        return
    account = json.dumps([epoch, roles_version, ACTIVE_ACCOUNT, username, roles])
    try:
        cache.run_script(
            FILL_ACCOUNT,
            [build_account_cache_key(account_id)],
            [account, epoch, roles_version, choose_entry_ttl(), 1],
        )
    except CacheUnavailable:
        return


def choose_entry_ttl() -> int:
    """Return the TTL of a positive entry in milliseconds."""
    return int(
        MAX_ENTRY_AGE.total_seconds() * 1000 * (1 - TTL_JITTER * secrets.randbelow(1000) / 1000)
    )


def mark_session_revoked(
    cache: Cache, settings: Settings, *, account_id: str, session_id: str, patient: bool = False
) -> None:
    """Mark a session as revoked. Raises CacheUnavailable."""
    life = int((settings.access_token_ttl + LEEWAY + MAX_ENTRY_AGE).total_seconds() * 1000)
    key = build_session_cache_key(account_id, session_id)
    cache.call(lambda client: client.set(key, REVOKED_ENTRY, px=life), bypass_breaker=patient)


def mark_account_changed(
    cache: Cache,
    settings: Settings,
    *,
    account_id: str,
    epoch: int,
    roles_version: int,
    status: str,
    patient: bool = False,
) -> None:
    """Set the minimum epoch of an account. Its entry has no name, so it makes no session valid.

    Raises CacheUnavailable.
    """
    life = int((settings.access_token_ttl + LEEWAY + MAX_ENTRY_AGE).total_seconds() * 1000)
    floor = json.dumps([epoch, roles_version, status, None, []])
    cache.run_script(
        FILL_ACCOUNT,
        [build_account_cache_key(account_id)],
        [floor, epoch, roles_version, life, 0],
        bypass_breaker=patient,
    )
