"""Redis or Valkey with short timeouts, no retries and a circuit breaker.

It caches answers of the database. A missing key proves nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.adapters import logs

if TYPE_CHECKING:
    from app.adapters.clock import Clock

T = TypeVar("T")

SOCKET_TIMEOUT_SECONDS = 0.1  # to connect, and for each response
MAX_CONSECUTIVE_FAILURES = 5  # that open the circuit breaker
RETRY_INTERVAL_SECONDS = 1.0  # between attempts while the breaker is open
TRUST_SECONDS = 2.0  # a valid status is trusted this long after the last write of revocations

log = logs.get_logger("cache")


class CacheUnavailable(Exception):
    """No cache is configured, or it does not respond. The caller queries the database instead."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script that the server runs atomically."""

    text: str


class Cache:
    """The Redis client of a process. Without a URL, every call raises CacheUnavailable."""

    def __init__(self, url: str | None, clock: Clock) -> None:
        self._clock = clock
        self._client = _build_client(url) if url else None
        self._registered: dict[str, Callable[..., object]] = {}
        self._lock = threading.Lock()
        self._failures = 0
        self._again_at = 0.0
        self._written_at = float("-inf")

    @property
    def is_configured(self) -> bool:
        return self._client is not None

    @property
    def pool(self) -> redis.ConnectionPool:
        """Return the connection pool, for the rate limit library. Raises CacheUnavailable."""
        if self._client is None:
            raise CacheUnavailable
        pool: redis.ConnectionPool = self._client.connection_pool
        return pool

    def confirm_written(self, ticks: float) -> None:
        """Record that all revocations up to that monotonic time are in the cache."""
        self._written_at = ticks

    @property
    def is_trusted(self) -> bool:
        """Return whether a valid status may be trusted.

        While the cache can be read but not written, it lacks recent revocations.
        """
        return self._clock.get_monotonic_time() - self._written_at <= TRUST_SECONDS

    def get_many(self, *keys: str) -> list[bytes | None]:
        """Read several keys in one round trip; None for a missing key. Raises CacheUnavailable."""
        return self.call(lambda client: client.mget(keys))  # type: ignore[return-value,arg-type] # redis-py types serve two clients

    def get_server_info(self) -> Mapping[str, object]:
        """Return the output of INFO, even while the breaker is open. Raises CacheUnavailable."""
        return self.call(lambda client: client.info(), bypass_breaker=True)

    def run_script(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[str | int],
        *,
        bypass_breaker: bool = False,
    ) -> object:
        """Run a script in one round trip. Raises CacheUnavailable."""
        return self.call(
            lambda client: self._get_registered_script(client, script)(keys=keys, args=arguments),
            bypass_breaker=bypass_breaker,
        )

    def call(self, command: Callable[[redis.Redis], T], *, bypass_breaker: bool = False) -> T:
        """Run a command unless the circuit breaker is open. Raises CacheUnavailable."""
        client = self._client
        if client is None or not (bypass_breaker or self._allows_call()):
            raise CacheUnavailable
        try:
            answer = command(client)
        except (redis.RedisError, OSError) as error:
            self._record_failure(error)
            raise CacheUnavailable from error
        if self._failures:
            self._record_recovery()
        return answer

    def _get_registered_script(self, client: redis.Redis, script: Script) -> Callable[..., object]:
        if script.text not in self._registered:
            self._registered[script.text] = client.register_script(script.text)
        return self._registered[script.text]

    def _allows_call(self) -> bool:
        """Return True while the breaker is closed, and once per second while it is open."""
        if self._failures < MAX_CONSECUTIVE_FAILURES:
            return True
        with self._lock:
            now = self._clock.get_monotonic_time()
            if now < self._again_at:
                return False
            self._again_at = now + RETRY_INTERVAL_SECONDS
            return True

    def _record_failure(self, error: Exception) -> None:
        with self._lock:
            self._failures += 1
            if self._failures == MAX_CONSECUTIVE_FAILURES:
                self._again_at = self._clock.get_monotonic_time() + RETRY_INTERVAL_SECONDS
                log.warning("cache unavailable, circuit breaker opened", fault=type(error).__name__)

    def _record_recovery(self) -> None:
        with self._lock:
            if self._failures >= MAX_CONSECUTIVE_FAILURES:
                log.warning("cache available, circuit breaker closed")
            self._failures = 0


def _build_client(url: str) -> redis.Redis:
    # By default, redis-py retries ten times with pauses, which costs seconds with a dead server.
    return redis.Redis.from_url(
        url,
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        protocol=2,
    )
