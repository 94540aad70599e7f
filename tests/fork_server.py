"""A process that has imported the service and forks others, which takes a tenth of the time.

A forked process has its own environment, session and output, and runs what `python -m app` runs.
Linux only; elsewhere, and in tests of the start itself, tests.live starts a new process.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Queue
from typing import IO, Any

from tests.postgres import terminate_with_parent

ROOT = Path(__file__).parents[1]
MAX_MESSAGE_BYTES = 1 << 17  # bytes of an environment
START_TIMEOUT = 60  # seconds


class ForkedProcess:
    """A forked process with the interface of `subprocess.Popen`."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server, self.pid = server, pid

    @property
    def returncode(self) -> int | None:
        return self._server.exit_codes.get(self.pid)

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        with self._server.exits:
            if not self._server.exits.wait_for(lambda: self.returncode is not None, timeout):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return self._server.exit_codes[self.pid]

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The test process's side. It ends with the test process, and so do all forked processes."""

    def __init__(self) -> None:
        self.exit_codes: dict[int, int] = {}
        self.exits = threading.Condition()
        self._started_pids: Queue[int] = Queue()
        self._start_lock = threading.Lock()
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.fork_server", str(theirs.fileno())]
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )
        threading.Thread(target=self._listen, daemon=True).start()

    def start(
        self,
        *words: str,
        env: dict[str, str],
        out: IO[Any],
        err: IO[Any] | None = None,
        sqlite_waits: float | None = None,
    ) -> ForkedProcess:
        """Fork `python -m app` with these arguments.

        `sqlite_waits` is the busy timeout in seconds, by default two.
        """
        message = json.dumps({"words": words, "env": env, "sqlite_waits": sqlite_waits}).encode()
        with self._start_lock:
            socket.send_fds(self._ours, [message], [out.fileno(), (err or out).fileno()])
            return ForkedProcess(self, self._started_pids.get(timeout=START_TIMEOUT))

    def close(self) -> None:
        self._ours.shutdown(socket.SHUT_RDWR)
        self._process.wait(10)
        self._ours.close()

    def _listen(self) -> None:
        while message := self._ours.recv(MAX_MESSAGE_BYTES):
            report = json.loads(message)
            if "started" in report:
                self._started_pids.put(report["started"])
                continue
            with self.exits:
                self.exit_codes[report["exited"]] = report["code"]
                self.exits.notify_all()


# The fork server's side.


def serve(number: int) -> None:
    """Fork processes on request and report their exits until the test process is gone."""
    import uvicorn.loops.uvloop  # noqa: F401 - uvicorn imports it by its name

    from app.cli import cli
    from app.factory import create_app

    child_signals, child_signals_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(child_signals_in)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which end this process
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=number) as connection, selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_READ)
        selector.register(child_signals, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if child_signals in ready:
                os.read(child_signals, 4096)
                report_exits(connection)
            if number not in ready:
                continue
            raw, files, *_ = socket.recv_fds(connection, MAX_MESSAGE_BYTES, 2)
            if not raw:
                return
            pid = os.fork()
            if pid == 0:
                break
            for file in files:
                os.close(file)
            connection.send(json.dumps({"started": pid}).encode())
    prepare_child(files, **json.loads(raw), forget=(child_signals, child_signals_in))
    cli(obj=create_app, prog_name="python -m app")


def report_exits(connection: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            connection.send(
                json.dumps(
                    {"exited": found[0], "code": os.waitstatus_to_exitcode(found[1])}
                ).encode()
            )


def prepare_child(
    files: list[int],
    *,
    words: list[str],
    env: dict[str, str],
    sqlite_waits: float | None,
    forget: tuple[int, int],
) -> None:
    """Set up the forked process as if it had been started by a command."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    terminate_with_parent()
    for file, place in zip(files, (1, 2), strict=True):
        os.dup2(file, place)
    for file in (*files, *forget):
        os.close(file)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = ["python -m app", *words]
    if sqlite_waits is not None:
        from app.adapters import database

        database.SQLITE_BUSY_SECONDS = sqlite_waits


if __name__ == "__main__":
    serve(int(sys.argv[1]))
