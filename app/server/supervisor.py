"""The parent process of `serve`: it forks the worker processes, and replaces those that fail.

Workers share the listening socket and the memory of the imported code. Each sends a heartbeat
through a pipe. The pipe ends with the worker, and its other end with the parent, so each notices
when the other has ended.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from app.adapters import logs

HEARTBEAT_SECONDS = 1.0
MAX_SILENCE_SECONDS = 30.0  # after which a worker is killed and replaced
MAX_START_SECONDS = 60.0
MIN_RESTART_SECONDS = 1.0  # between two starts of one worker
STOP_SECONDS = 22.0  # after which workers that still run are killed
BACKLOG = 2048
UNIX_PREFIX = "unix:"
EXIT_FAILED = 1

log = logs.get_logger("supervisor")

ServeWorker = Callable[[socket.socket, int], None]


@dataclass(slots=True)
class _Worker:
    number: int
    pid: int
    pipe: int
    started_at: float
    heard_at: float | None = None


def bind_socket(bind: str) -> socket.socket:
    """Open the listening socket for HOST:PORT or unix:PATH. Raises OSError or ValueError."""
    if bind.startswith(UNIX_PREFIX):
        return _bind_unix_socket(bind.removeprefix(UNIX_PREFIX))
    host, _, port = bind.rpartition(":")
    family, kind, _, _, address = socket.getaddrinfo(
        host.strip("[]") or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(address)
    listener.listen(BACKLOG)
    return listener


def _bind_unix_socket(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(Path(path).stat().st_mode):
            Path(path).unlink()  # left behind by an earlier process
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(BACKLOG)
    return listener


class Supervisor:
    """Runs the workers until a signal stops them."""

    def __init__(self, listener: socket.socket, serve: ServeWorker, *, workers: int) -> None:
        self._listener, self._serve = listener, serve
        self._waiting = dict.fromkeys(range(workers), float("-inf"))  # number: when to start it
        self._workers: dict[int, _Worker] = {}
        self._selector = selectors.DefaultSelector()
        self._received: list[int] = []
        self._stops_at: float | None = None
        self._exit_code = 0

    def run(self) -> int:
        """Serve until SIGTERM, SIGINT or SIGQUIT. Returns the exit code."""
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(reader, selectors.EVENT_READ)
        signal.set_wakeup_fd(writer)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, self._receive)
        while self._workers or self._stops_at is None:
            self._start_due()
            for key, _ in self._selector.select(HEARTBEAT_SECONDS / 2):
                if key.fd == reader:
                    os.read(reader, 4096)
                else:
                    self._hear(self._workers[key.data])
            self._forward_signals()
            self._end_silent()
        return self._exit_code

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self._received.append(number)

    def _start_due(self) -> None:
        now = time.monotonic()
        for number, due in list(self._waiting.items()):
            if self._stops_at is None and due <= now:
                del self._waiting[number]
                self._start(number, now)

    def _start(self, number: int, now: float) -> None:
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            self._become_worker(writer)
        os.close(writer)
        self._workers[number] = _Worker(number, pid, reader, now)
        self._selector.register(reader, selectors.EVENT_READ, number)

    def _become_worker(self, heartbeat: int) -> None:
        """Run the worker in the forked process, and never return."""
        code = EXIT_FAILED
        try:
            signal.set_wakeup_fd(-1)
            for key in list(self._selector.get_map().values()):
                os.close(key.fd)
            self._selector.close()
            self._serve(self._listener, heartbeat)
            code = 0
        except BaseException:
            log.exception("worker failed")
        finally:
            os._exit(code)

    def _hear(self, worker: _Worker) -> None:
        with contextlib.suppress(BlockingIOError):
            if os.read(worker.pipe, 4096):
                worker.heard_at = time.monotonic()
                return
            self._replace(worker)

    def _replace(self, worker: _Worker) -> None:
        """Forget a worker that has ended, and replace it."""
        _, status = os.waitpid(worker.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        self._selector.unregister(worker.pipe)
        os.close(worker.pipe)
        del self._workers[worker.number]
        if self._stops_at is not None:
            return
        log.error("worker ended", pid=worker.pid, exit_code=code)
        if worker.heard_at is None:
            # It never served, so its successor would fail too.
            self._exit_code = EXIT_FAILED
            self._stop(signal.SIGTERM)
            return
        self._waiting[worker.number] = worker.started_at + MIN_RESTART_SECONDS

    def _forward_signals(self) -> None:
        received, self._received = self._received, []
        for number in received:
            self._stop(number)

    def _stop(self, number: int) -> None:
        if self._stops_at is None:
            self._stops_at = time.monotonic() + STOP_SECONDS
        self._signal_all(number)

    def _end_silent(self) -> None:
        """Kill workers that hang, and at the end all that have not stopped in time."""
        now = time.monotonic()
        if self._stops_at is not None and now > self._stops_at:
            self._signal_all(signal.SIGKILL)
        for worker in self._workers.values():
            since, limit = (
                (worker.started_at, MAX_START_SECONDS)
                if worker.heard_at is None
                else (worker.heard_at, MAX_SILENCE_SECONDS)
            )
            if self._stops_at is None and now - since > limit:
                log.error("worker does not respond", pid=worker.pid)
                _send_signal(worker.pid, signal.SIGKILL)

    def _signal_all(self, number: int) -> None:
        for worker in self._workers.values():
            _send_signal(worker.pid, number)


def _send_signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
