"""Redis or Valkey: never asked twice, never waited for longer than a tenth of a second, and left alone while it is away.

What is in it is a memory of the database's answers. Nothing may be concluded from something not being there.
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

SOCKET_TIMEOUT_SECONDS = 0.1  # seconds, to connect and for each answer
MAX_CONSECUTIVE_FAILURES = 5  # in a row, then nobody asks for a while
RETRY_INTERVAL_SECONDS = 1.0  # seconds between two tries of a broken one
TRUST_SECONDS = (
    2.0  # seconds for which a yes counts after the watcher could last tell the cache what has ended
)

log = logs.get_logger("cache")


class CacheUnavailable(Exception):
    """There is no cache, or it does not answer. Ask the database."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, run in one step by the server."""

    text: str


class Cache:
    """One client for each process. Without a URL it is always away: the same code then runs on the database alone."""

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
        """Is one configured?"""
        return self._client is not None

    @property
    def pool(self) -> redis.ConnectionPool:
        """The connections, for the library that counts limits."""
        if self._client is None:
            raise CacheUnavailable
        pool: redis.ConnectionPool = self._client.connection_pool
        return pool

    def confirm_written(self, ticks: float) -> None:
        """Everything that had ended at that moment has been written to it, and it took it."""
        self._written_at = ticks

    @property
    def is_trusted(self) -> bool:
        """May a yes be taken from it? Not while it can be read and not written: it would go on saying what was true before."""
        return self._clock.get_monotonic_time() - self._written_at <= TRUST_SECONDS

    def get_many(self, *keys: str) -> list[bytes | None]:
        """The values of several keys in one round trip, None where there is nothing. Raises CacheAway."""
        return self.call(lambda client: client.mget(keys))  # type: ignore[return-value,arg-type] # redis-py types serve two clients

    def get_server_info(self) -> Mapping[str, object]:
        """What the server says of itself, asked also while it is left alone. Raises CacheAway."""
        return self.call(lambda client: client.info(), bypass_breaker=True)

    def run_script(
        self,
        script: Script,
        keys: Sequence[str],
        arguments: Sequence[str | int],
        *,
        bypass_breaker: bool = False,
    ) -> object:
        """Run a script in one round trip. Raises CacheAway. `patient` asks also while others leave the cache alone."""
        return self.call(
            lambda client: self._get_registered_script(client, script)(keys=keys, args=arguments),
            bypass_breaker=bypass_breaker,
        )

    def call(self, command: Callable[[redis.Redis], T], *, bypass_breaker: bool = False) -> T:
        """Ask, unless it has just been found broken. Raises CacheAway."""
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
        """Everybody while it is well; while it is broken, one caller each second."""
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
                log.warning("cache left alone", fault=type(error).__name__)

    def _record_recovery(self) -> None:
        with self._lock:
            if self._failures >= MAX_CONSECUTIVE_FAILURES:
                log.warning("cache is back")
            self._failures = 0


def _build_client(url: str) -> redis.Redis:
    # redis-py would try ten times with pauses: a dead server would then cost seconds for each question.
    return redis.Redis.from_url(
        url,
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=SOCKET_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        protocol=2,
    )
