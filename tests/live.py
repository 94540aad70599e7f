"""Serving processes, and requests that arrive simultaneously."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from app.settings import Settings
from tests.actors import SECRET
from tests.fork_server import ROOT, ForkedProcess, ForkServer
from tests.postgres import find_free_port, terminate_with_parent

START_TIMEOUT = 60  # seconds
HIGH_LIMIT = "100000/minute"  # tests cannot reset the limits of another process
WITHOUT_LIMITS = {
    f"DOORWARD_{field.name.upper()}": HIGH_LIMIT
    for field in dataclasses.fields(Settings)
    if field.name.startswith("limit_")
}
CHEAP_HASH = {"DOORWARD_ARGON2_MEMORY_KIB": "64", "DOORWARD_ARGON2_TIME_COST": "1"}


def clean_environment() -> dict[str, str]:
    """Return this process's environment without settings of the service."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DOORWARD_")}


@cache
def fork_server() -> ForkServer:
    """Start the fork server of this test process on first use."""
    return ForkServer()


def start_process(
    *words: str, env: dict[str, str], log: IO[Any], **more: Any
) -> subprocess.Popen[bytes] | ForkedProcess:
    """Start `python -m app` with these arguments and collect its output. Forks on Linux only."""
    return (
        fork_server().start(*words, env=env, out=log, **more)
        if sys.platform == "linux"
        else start_subprocess(*words, env=env, log=log)
    )


def start_subprocess(*words: str, env: dict[str, str], log: IO[Any]) -> subprocess.Popen[bytes]:
    """Start a subprocess.

    Call this from the main thread: on Linux it ends with the thread that started it.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "app", *words],
        cwd=ROOT,
        env=env,
        stdout=log,
        stderr=subprocess.STDOUT,
        preexec_fn=terminate_with_parent,
        start_new_session=True,
    )


class LiveServer:
    """A serving process on a free port."""

    def __init__(self, log: Path, *options: str, env: dict[str, str], **more: Any) -> None:
        self.more = more
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self.env = {**clean_environment(), "DOORWARD_SECRET_KEY": SECRET, **env}
        self.words = ["serve", "--bind", f"127.0.0.1:{self.port}", "--migrate", *options]
        self.start()

    def start(self) -> None:
        self.launch()
        self.await_ready()

    def launch(self) -> None:
        """Start the server without waiting until it is ready."""
        with self.log.open("ab") as log:
            self.process = self.start_process(log)

    def start_process(self, log: IO[Any]) -> subprocess.Popen[bytes] | ForkedProcess:
        return start_process(*self.words, env=self.env, log=log, **self.more)

    def await_ready(self) -> None:
        end = time.monotonic() + START_TIMEOUT
        while True:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=2):
                    return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    self.kill()
                    raise RuntimeError(self.log.read_text()) from None
                time.sleep(0.05)

    def stop(self, number: int = signal.SIGINT) -> int:
        """Stop the server at once and return its exit code. SIGTERM would drain it first."""
        if self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
        return self.process.returncode

    @staticmethod
    def stop_all(several: list[LiveServer]) -> None:
        """Signal all servers first, so that they stop simultaneously."""
        for live in several:
            if live.process.poll() is None:
                live.process.send_signal(signal.SIGINT)
        for live in several:
            live.stop()

    def kill(self) -> None:
        """Kill the process and its children, which form a process group."""
        if self.process.poll() is None:
            with suppress(ProcessLookupError):  # it has just exited
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Send a request. Returns status and parsed body."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            self.url + path,
            data,
            {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})},
        )
        request.method = method
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, _parse_json(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, _parse_json(error.read())

    def mailbox(self, to: str) -> list[dict[str, Any]]:
        return [item for item in self.call("GET", "/dev/mailbox")[1]["items"] if item["to"] == to]


class SubprocessServer(LiveServer):
    """A server started as an operator starts it, for tests of the start itself."""

    def start_process(self, log: IO[Any]) -> subprocess.Popen[bytes]:
        return start_subprocess(*self.words, env=self.env, log=log)


class StartingServer(LiveServer):
    """A server that is not waited for, so that several can start simultaneously; call await_ready."""

    def start(self) -> None:
        self.launch()


class Worker:
    """`python -m app worker` in a separate process."""

    def __init__(self, log: Path, env: dict[str, str]) -> None:
        self.log = log
        with log.open("ab") as output:
            self.process = start_process(
                "worker",
                env={**clean_environment(), "DOORWARD_SECRET_KEY": SECRET, **env},
                log=output,
            )

    def stop(self) -> int:
        """Stop the worker and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
        return self.process.returncode

    def kill(self) -> None:
        """Kill the worker."""
        self.process.kill()
        self.process.wait(10)


def run_command(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `python -m app` with these arguments to its end."""
    if sys.platform != "linux":
        return run_subprocess(*words, env=env)
    env = {**clean_environment(), "DOORWARD_SECRET_KEY": SECRET, **env}
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        child = fork_server().start(*words, env=env, out=out, err=err)
        try:
            code = child.wait(60)
        finally:
            child.kill()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(words, code, out.read(), err.read())


def run_subprocess(*words: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command in a new process."""
    return subprocess.run(
        [sys.executable, "-m", "app", *words],
        cwd=ROOT,
        env={**clean_environment(), "DOORWARD_SECRET_KEY": SECRET, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _parse_json(raw: bytes) -> Any:
    return json.loads(raw) if raw else None


def send_simultaneously(port: int, requests: list[bytes]) -> list[tuple[int, Any]]:
    """Send many requests that arrive together.

    All but the last byte of each, then the last bytes (last-byte sync).
    """
    connections = []
    for request in requests:
        connection = socket.create_connection(("127.0.0.1", port), 30)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(request[:-1])
        connections.append(connection)
    time.sleep(0.2)  # the server is reading all of them by now
    answers: list[tuple[int, Any]] = [(0, None)] * len(requests)
    gate = threading.Barrier(len(requests))

    def finish(index: int) -> None:
        gate.wait()
        connections[index].sendall(requests[index][-1:])
        answers[index] = _read_response(connections[index])

    threads = [threading.Thread(target=finish, args=(index,)) for index in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return answers


def build_raw_post(path: str, body: Any, headers: dict[str, str] | None = None) -> bytes:
    """Build a POST request as bytes."""
    text = json.dumps(body).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Content-Length: {len(text)}",
        "Connection: close",
    ]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + text


def _read_response(connection: socket.socket) -> tuple[int, Any]:
    raw = b""
    with connection:
        while chunk := connection.recv(65536):
            raw += chunk
    head, _, body = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), _parse_json(body)
