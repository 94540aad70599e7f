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
PATIENCE = 2.5
# Whoever seems overdue is looked at twice: after a pause of this very process the answers lie there, not yet read.
SECOND_LOOK = 0.1
# How long nobody calls a server that was silent, and how long one who calls may be at it.
PAUSE, CALL = 1.0, 3.0

log = logs.get_logger("database")


class Line:
    """The socket of one connection; `with line:` is a wait on it.

    It is a duplicate: the library may close its own at any moment, and by then the number could be another socket's.
    """

    def __init__(self, fileno: int) -> None:
        self._socket = socket.socket(fileno=os.dup(fileno))
        self._lock = threading.Lock()
        self.heard_at = time.monotonic()
        self.waiting_since: float | None = None

    def __enter__(self) -> None:
        self.waiting_since = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.waiting_since, self.heard_at = None, time.monotonic()

    def waited(self, now: float) -> float:
        """For how many seconds it has been waited on."""
        since = self.waiting_since
        return now - since if since is not None else 0.0

    def cut(self) -> None:
        """Whoever waits on it is told at once that the connection is lost."""
        with self._lock, suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with self._lock:
            self._socket.close()


class Deadline:
    """The lines to one server. A thread, begun with the first of them, cuts those on which it has fallen silent."""

    def __init__(self) -> None:
        self._lines: WeakSet[Line] = WeakSet()
        self._lock = threading.Lock()
        self._watching = False
        self._silent = False
        self._again_at = 0.0

    def line(self, fileno: int) -> Line:
        """Watch over this socket until it is closed."""
        line = Line(fileno)
        with self._lock:
            self._lines.add(line)
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="doorward-deadline", daemon=True).start()
        return line

    def forget(self, line: Line) -> None:
        line.close()
        with self._lock:
            self._lines.discard(line)

    def may_call(self) -> bool:
        """May a new connection be tried? While the server is silent one caller at a time tries, the others need not wait for it."""
        with self._lock:
            now = time.monotonic()
            if self._silent and now < self._again_at:
                return False
            self._again_at = now + CALL
            return True

    def fell_silent(self) -> None:
        """It did not answer in time: nobody is to wait for it as long again."""
        with self._lock:
            news, self._silent, self._again_at = not self._silent, True, time.monotonic() + PAUSE
        if news:
            log.warning("database is silent")

    def spoke(self) -> None:
        """It answered a call, if only to refuse it."""
        with self._lock:
            news, self._silent = self._silent, False
        if news:
            log.warning("database speaks again")

    def _watch(self) -> None:
        while (waited := self._longest()) is not None:
            if waited < PATIENCE - SECOND_LOOK:
                time.sleep(
                    PATIENCE - SECOND_LOOK - waited
                )  # whoever begins to wait meanwhile is due later
                continue
            time.sleep(SECOND_LOOK)
            self._cut_the_silent()

    def _longest(self) -> float | None:
        """The longest wait there is, None when no line is left to watch."""
        with self._lock:
            now = time.monotonic()
            waits = [
                line.waited(now) for line in self._lines
            ]  # counted once: a line may be collected between two looks
            self._watching = bool(waits)
            return max(waits) if waits else None

    def _cut_the_silent(self) -> None:
        """Cut what is overdue, and every line that said nothing since then: the next user of each would wait as long."""
        with self._lock:
            now = time.monotonic()
            overdue = [
                line.waiting_since or now for line in self._lines if line.waited(now) >= PATIENCE
            ]
            silent = [line for line in self._lines if overdue and line.heard_at < max(overdue)]
        if silent:
            self.fell_silent()
        for line in silent:
            line.cut()
