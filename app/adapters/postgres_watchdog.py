"""Ends waiting for a server that answers nothing: one that is frozen runs no timer of its own, and its sockets stay open."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from weakref import WeakSet

from app.adapters import logs

# A healthy server ends every statement within two seconds by itself, so half a second more means that it is gone.
# A request has three: a wait that is cut off, and nothing after it that waits again.
MAX_WAIT_SECONDS = 2.5
# Whoever seems overdue is looked at twice: after a pause of this very process the answers lie there, not yet read.
RECHECK_SECONDS = 0.1
# How long nobody calls a server that was silent, and how long one who calls may be at it.
RETRY_INTERVAL_SECONDS, MAX_CONNECT_SECONDS = 1.0, 3.0

log = logs.get_logger("database")


class WatchedSocket:
    """The socket of one connection; `with line:` is a wait on it.

    It is a duplicate: the library may close its own at any moment, and by then the number could be another socket's.
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
        """For how many seconds it has been waited on."""
        since = self.waiting_since
        return now - since if since is not None else 0.0

    def shut_down(self) -> None:
        """Whoever waits on it is told at once that the connection is lost."""
        with self._lock, suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            self._socket.close()


class SocketWatchdog:
    """The lines to one server. A thread, begun with the first of them, cuts those on which it has fallen silent."""

    def __init__(self) -> None:
        self._sockets: WeakSet[WatchedSocket] = WeakSet()
        self._lock = threading.Lock()
        self._watching = False
        self._silent = False
        self._retry_at = 0.0

    def watch(self, fileno: int) -> WatchedSocket:
        """Watch over this socket until it is closed."""
        line = WatchedSocket(fileno)
        with self._lock:
            self._sockets.add(line)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._run, name="doorward-deadline", daemon=True).start()
        return line

    def unwatch(self, line: WatchedSocket) -> None:
        line.close()
        with self._lock:
            self._sockets.discard(line)

    def can_connect(self) -> bool:
        """May a new connection be tried? While the server is silent one caller at a time tries, the others need not wait for it."""
        with self._lock:
            now = time.monotonic()
            if self._silent and now < self._retry_at:
                return False
            self._retry_at = now + MAX_CONNECT_SECONDS
            return True

    def record_silence(self) -> None:
        """It did not answer in time: nobody is to wait for it as long again."""
        with self._lock:
            news, self._silent, self._retry_at = (
                not self._silent,
                True,
                time.monotonic() + RETRY_INTERVAL_SECONDS,
            )
        if news:
            log.warning("database is silent")

    def record_answer(self) -> None:
        """It answered a call, if only to refuse it."""
        with self._lock:
            news, self._silent = self._silent, False
        if news:
            log.warning("database speaks again")

    def _run(self) -> None:
        while (waited := self._get_longest_wait()) is not None:
            if waited < MAX_WAIT_SECONDS - RECHECK_SECONDS:
                time.sleep(
                    MAX_WAIT_SECONDS - RECHECK_SECONDS - waited
                )  # whoever begins to wait meanwhile is due later
                continue
            time.sleep(RECHECK_SECONDS)
            self._shut_down_silent()

    def _get_longest_wait(self) -> float | None:
        """The longest wait there is, None when no line is left to watch."""
        with self._lock:
            now = time.monotonic()
            waits = [
                line.get_wait_seconds(now) for line in self._sockets
            ]  # counted once: a line may be collected between two looks
            self._watching = bool(waits)
            return max(waits) if waits else None

    def _shut_down_silent(self) -> None:
        """Cut what is overdue, and every line that said nothing since then: the next user of each would wait as long."""
        with self._lock:
            now = time.monotonic()
            overdue = [
                line.waiting_since or now
                for line in self._sockets
                if line.get_wait_seconds(now) >= MAX_WAIT_SECONDS
            ]
            silent = [
                line for line in self._sockets if overdue and line.last_answer_at < max(overdue)
            ]
        if silent:
            self.record_silence()
        for line in silent:
            line.shut_down()
