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

    def __init__(self, nursery: ForkServer, pid: int) -> None:
        self._nursery, self.pid = nursery, pid

    @property
    def returncode(self) -> int | None:
        return self._nursery.ended.get(self.pid)

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        with self._nursery.news:
            if not self._nursery.news.wait_for(lambda: self.returncode is not None, timeout):
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return self._nursery.ended[self.pid]

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
        self.ended: dict[int, int] = {}
        self.news = threading.Condition()
        self._begun: Queue[int] = Queue()
        self._one_at_a_time = threading.Lock()
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
        asked = json.dumps({"words": words, "env": env, "sqlite_waits": sqlite_waits}).encode()
        with self._one_at_a_time:
            socket.send_fds(self._ours, [asked], [out.fileno(), (err or out).fileno()])
            return ForkedProcess(self, self._begun.get(timeout=START_TIMEOUT))

    def close(self) -> None:
        self._ours.shutdown(socket.SHUT_RDWR)
        self._process.wait(10)
        self._ours.close()

    def _listen(self) -> None:
        while told := self._ours.recv(MAX_MESSAGE_BYTES):
            news = json.loads(told)
            if "begun" in news:
                self._begun.put(news["begun"])
                continue
            with self.news:
                self.ended[news["ended"]] = news["code"]
                self.news.notify_all()


# The fork server's side.


def serve(number: int) -> None:
    """Fork processes on request and report their exits until the test process is gone."""
    import uvicorn.loops.uvloop  # noqa: F401 - uvicorn imports it by its name

    from app.cli import cli
    from app.factory import create_app

    ended, told = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(told)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the tests, which end this process
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=number) as asking, selectors.DefaultSelector() as either:
        either.register(asking, selectors.EVENT_READ)
        either.register(ended, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in either.select()}
            if ended in ready:
                os.read(ended, 4096)
                report_exits(asking)
            if number not in ready:
                continue
            raw, files, *_ = socket.recv_fds(asking, MAX_MESSAGE_BYTES, 2)
            if not raw:
                return
            pid = os.fork()
            if pid == 0:
                break
            for file in files:
                os.close(file)
            asking.send(json.dumps({"begun": pid}).encode())
    prepare_child(files, **json.loads(raw), forget=(ended, told))
    cli(obj=create_app, prog_name="python -m app")


def report_exits(asking: socket.socket) -> None:
    with contextlib.suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            asking.send(
                json.dumps(
                    {"ended": found[0], "code": os.waitstatus_to_exitcode(found[1])}
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
