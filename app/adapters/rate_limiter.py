"""How often something may happen, counted in this process by the library `limits`, each step atomic."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limits import RateLimitItem, parse_many
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

if TYPE_CHECKING:
    from app.adapters.clock import Clock

SWEEP_EVERY = 10_000


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The limit that was reached: `quota` in `window` seconds, open again after `reset` seconds."""

    quota: int
    window: int
    reset: int


class Limiter:
    """Moving windows: at no moment does more than the quota lie within the window behind it."""

    def __init__(self, clock: Clock, *, replicas: int) -> None:
        self._clock = clock
        self._replicas = replicas
        self._storage = MemoryStorage()
        self._windows = MovingWindowRateLimiter(self._storage)
        self._parsed: dict[str, list[RateLimitItem]] = {}
        # The library drops a key's lock while others may wait for it; one lock of ours keeps a hit one step.
        self._lock = threading.Lock()
        self._hits = 0

    def hit(self, limits: str, *key: str) -> Exceeded | None:
        """Count one; the limit that stands against it, None when it may go on. `limits` is like "20/minute;300/hour"."""
        with self._lock:
            self._forget_the_idle()
            for item in self._items(limits):
                if not self._windows.hit(item, *key):
                    return self._exceeded(item, key)
        return None

    def reset(self) -> None:
        """Forget everything that was counted."""
        with self._lock:
            self._storage.reset()

    def _items(self, limits: str) -> list[RateLimitItem]:
        if limits not in self._parsed:
            # Every process counts alone, so each gets its share, at least one.
            self._parsed[limits] = [type(item)(max(1, item.amount // self._replicas), item.multiples) for item in parse_many(limits)]
        return self._parsed[limits]

    def _exceeded(self, item: RateLimitItem, key: tuple[str, ...]) -> Exceeded:
        reset = self._windows.get_window_stats(item, *key).reset_time - self._clock.wall()
        return Exceeded(item.amount, item.get_expiry(), max(1, math.ceil(reset)))

    def _forget_the_idle(self) -> None:
        """The library empties a key's window but keeps the key, which would grow with every source ever seen."""
        self._hits += 1
        if self._hits % SWEEP_EVERY == 0:
            for key in [key for key, events in self._storage.events.items() if not events]:
                del self._storage.events[key]
