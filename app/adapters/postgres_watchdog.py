"""Abort waits for a PostgreSQL server that does not respond.

A frozen server runs none of its own timeouts and leaves its sockets open, so without this watchdog
a statement would wait forever.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import nullcontext, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import psycopg
from sqlalchemy import event

from app.adapters import logs

if TYPE_CHECKING:
    from sqlalchemy import Dialect, Engine

# A healthy server ends every statement within two seconds (statement_timeout), so half a second
# more means that it is gone. A request may take three seconds: one aborted wait, and nothing after
# it that waits again.
MAX_WAIT_SECONDS = 2.5
# An overdue wait is checked twice: after a pause of this process itself, the answer may have
# arrived but not been read.
RECHECK_SECONDS = 0.1
RETRY_INTERVAL_SECONDS = 1.0  # between connection attempts to a server that does not respond
MAX_CONNECT_SECONDS = 3.0  # for one connection attempt

log = logs.get_logger("database")


class WatchedSocket:
    """The socket of one connection; `with watched_socket:` marks a wait on it.

    It duplicates the file descriptor: the driver may close its own at any moment, and the number
    would then belong to another socket.
    """

    def __init__(self, fileno: int) -> None:
        self._socket = socket.socket(fileno=os.dup(fileno))
        self._lock = threading.Lock()
        self.last_answer_at = time.monotonic()
        self.waiting_since: float | None = None

    def __enter__(self) -> None:
        self.waiting_since = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.waiting_since, self.last_answer_at = None, time.monotonic()

    def get_wait_seconds(self, now: float) -> float:
        """Return the duration of the current wait, 0 when there is none."""
        since = self.waiting_since
        return now - since if since is not None else 0.0

    def shut_down(self) -> None:
        """Shut the connection down, so that a thread waiting on it fails at once."""
        with self._lock, suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            self._socket.close()


class SocketWatchdog:
    """Watches the connections to one server. Its thread starts with the first connection."""

    def __init__(self) -> None:
        self._sockets: WeakSet[WatchedSocket] = WeakSet()
        self._lock = threading.Lock()
        self._watching = False
        self._silent = False
        self._retry_at = 0.0

    def watch(self, fileno: int) -> WatchedSocket:
        """Watch this socket until it is passed to `unwatch`."""
        watched = WatchedSocket(fileno)
        with self._lock:
            self._sockets.add(watched)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._run, name="doorward-watchdog", daemon=True).start()
        return watched

    def unwatch(self, watched: WatchedSocket) -> None:
        watched.close()
        with self._lock:
            self._sockets.discard(watched)

    def can_connect(self) -> bool:
        """Return whether to attempt a connection.

        While the server is silent, one caller at a time may try.
        """
        with self._lock:
            now = time.monotonic()
            if self._silent and now < self._retry_at:
                return False
            self._retry_at = now + MAX_CONNECT_SECONDS
            return True

    def record_silence(self) -> None:
        """Record that the server did not answer in time, so that new connections fail at once."""
        with self._lock:
            changed, self._silent = not self._silent, True
            self._retry_at = time.monotonic() + RETRY_INTERVAL_SECONDS
        if changed:
            log.warning("database does not respond")

    def record_answer(self) -> None:
        """Record that the server answered a connection attempt, even if it refused it."""
        with self._lock:
            changed, self._silent = self._silent, False
        if changed:
            log.warning("database responds again")

    def _run(self) -> None:
        while (waited := self._get_longest_wait()) is not None:
            if waited < MAX_WAIT_SECONDS - RECHECK_SECONDS:
                # A wait that begins meanwhile is due later than this one.
                time.sleep(MAX_WAIT_SECONDS - RECHECK_SECONDS - waited)
                continue
            time.sleep(RECHECK_SECONDS)
            self._shut_down_silent()

    def _get_longest_wait(self) -> float | None:
        """Return the longest current wait in seconds, None when no socket is left to watch."""
        with self._lock:
            now = time.monotonic()
            # Read once: the garbage collector may remove a socket between two iterations.
            waits = [watched.get_wait_seconds(now) for watched in self._sockets]
            self._watching = bool(waits)
            return max(waits) if waits else None

    def _shut_down_silent(self) -> None:
        """Shut down overdue sockets, and those idle since: their next user would wait as long."""
        with self._lock:
            now = time.monotonic()
            overdue = [
                watched.waiting_since or now
                for watched in self._sockets
                if watched.get_wait_seconds(now) >= MAX_WAIT_SECONDS
            ]
            silent = [
                watched
                for watched in self._sockets
                if overdue and watched.last_answer_at < max(overdue)
            ]
        if silent:
            self.record_silence()
        for watched in silent:
            watched.shut_down()


class _WatchedConnection(psycopg.Connection[Any]):
    """A connection whose waits the watchdog limits."""

    watchdog: SocketWatchdog
    watched: WatchedSocket | None = None

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for the server. Psycopg calls this for every statement, commit and rollback."""
        with self.watched or nullcontext():
            return super().wait(*args, **kwargs)

    def close(self) -> None:
        super().close()
        if self.watched is not None:
            self.watchdog.unwatch(self.watched)


def install_watchdog(watchdog: SocketWatchdog, engine: Engine) -> None:
    """Have the watchdog watch every connection that the engine opens."""

    @event.listens_for(engine, "do_connect")
    def connect(
        _dialect: Dialect, _record: object, arguments: list[Any], options: dict[str, Any]
    ) -> _WatchedConnection:
        if not watchdog.can_connect():
            raise psycopg.OperationalError("the server did not respond a moment ago")
        try:
            connection = _WatchedConnection.connect(*arguments, **options)
        except psycopg.errors.ConnectionTimeout:
            watchdog.record_silence()
            raise
        except psycopg.Error:
            watchdog.record_answer()
            raise
        watchdog.record_answer()
        connection.watchdog = watchdog
        connection.watched = watchdog.watch(connection.fileno())
        return connection
