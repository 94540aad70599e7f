"""Rate limits with moving windows, counted atomically by the library `limits`."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

from app.adapters.cache import CacheUnavailable

if TYPE_CHECKING:
    from app.adapters.cache import Cache
    from app.adapters.clock import Clock

SWEEP_INTERVAL_HITS = 10_000


@dataclass(frozen=True, slots=True)
class ExceededLimit:
    """The exceeded limit: `quota` requests in `window` seconds; retry after `reset` seconds."""

    quota: int
    window: int
    reset: int


@dataclass(frozen=True, slots=True)
class RateLimitWindow:
    """A part of a limit: an amount per number of seconds."""

    amount: int
    seconds: int


class RateLimiter:
    """Counts requests in Redis, or locally against a share of the limit while Redis is down."""

    def __init__(self, clock: Clock, cache: Cache, *, shares: int) -> None:
        self._clock = clock
        self._cache = cache
        self._shares = shares
        self._storage = MemoryStorage()
        self._local = MovingWindowRateLimiter(self._storage)
        self._shared = (
            MovingWindowRateLimiter(_build_shared_storage(cache)) if cache.is_configured else None
        )
        # The library discards the lock of a key while threads may wait for it, so hits take this
        # lock.
        self._lock = threading.Lock()
        self._hits = 0

    def hit(self, limits: str, *key: str) -> ExceededLimit | None:
        """Count one hit and return the exceeded limit, None if it is allowed.

        `limits` has the format "20/minute;300/hour".
        """
        shared = self._shared
        if shared is not None:
            with suppress(CacheUnavailable):
                return self._cache.call(
                    lambda _client: self._hit(shared, _parse_items(limits), key)
                )
        return self.hit_locally(limits, *key)

    def hit_locally(self, limits: str, *key: str) -> ExceededLimit | None:
        """Count one hit in this process alone, against its share of the limit."""
        with self._lock:
            self._hits += 1
            if self._hits % SWEEP_INTERVAL_HITS == 0:
                self._remove_idle_keys()
            return self._hit(self._local, _divide_by_shares(limits, self._shares), key)

    def reset(self) -> None:
        """Reset all local counters."""
        with self._lock:
            self._storage.reset()

    def _hit(
        self, windows: MovingWindowRateLimiter, items: Sequence[RateLimitItem], key: tuple[str, ...]
    ) -> ExceededLimit | None:
        for item in items:
            if not windows.hit(item, *key):
                reset = (
                    windows.get_window_stats(item, *key).reset_time - self._clock.get_wall_time()
                )
                return ExceededLimit(item.amount, item.get_expiry(), max(1, math.ceil(reset)))
        return None

    def _remove_idle_keys(self) -> None:
        """Remove keys without hits. The library keeps them, so memory would grow without bound."""
        for key in [key for key, events in self._storage.events.items() if not events]:
            del self._storage.events[key]


@functools.cache
def parse_windows(limits: str) -> tuple[RateLimitWindow, ...]:
    """Parse a limit such as "20/minute;300/hour"."""
    return tuple(RateLimitWindow(item.amount, item.get_expiry()) for item in _parse_items(limits))


@functools.cache
def _parse_items(limits: str) -> list[RateLimitItem]:
    return parse_many(limits)


@functools.cache
def _divide_by_shares(limits: str, shares: int) -> list[RateLimitItem]:
    """Divide each limit by the number of processes; the minimum is one."""
    return [
        type(item)(max(1, item.amount // shares), item.multiples) for item in _parse_items(limits)
    ]


def _build_shared_storage(cache: Cache) -> RedisStorage:
    """Build a storage that uses the connections of the cache, with their short timeouts."""
    return RedisStorage("redis://", connection_pool=cache.pool, key_prefix="dw1:limit")
