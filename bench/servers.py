"""Servers under measurement, started as an operator does, on loopback in their own folders."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.live import ROOT, START_TIMEOUT, LiveServer, clean_environment
from tests.postgres import Postgres, find_free_port, terminate_with_parent
from tests.valkey import Valkey

UNLIMITED = {
    f"DOORWARD_LIMIT_{name}": "100000/minute"
    for name in ("LOGIN", "REGISTER", "RESEND", "CONFIRM", "CODE", "REFRESH", "FORGOT")
}
# The minimum for production, repeated here so that a new default does not change the figure.
FLOOR = {"DOORWARD_ARGON2_MEMORY_KIB": "19456", "DOORWARD_ARGON2_TIME_COST": "2"}
MEMORY_KIB, PASSES = 19456, 2
PASSWORD = "correct horse battery staple"


@contextmanager
def service(*, postgres: bool = False, **env: str) -> Iterator[LiveServer]:
    """Start Doorward with one worker and the default threads, on SQLite or its own PostgreSQL."""
    with (
        TemporaryDirectory(prefix="doorward-bench-") as folder,
        _database(Path(folder), postgres=postgres) as url,
    ):
        live = LiveServer(Path(folder) / "log", env={"DOORWARD_DATABASE_URL": url, **FLOOR, **env})
        try:
            yield live
        finally:
            live.stop()


@contextmanager
def _database(folder: Path, *, postgres: bool) -> Iterator[str]:
    if not postgres:
        yield f"sqlite:///{folder}/doorward.db"
        return
    server = Postgres()
    try:
        yield server.url()
    finally:
        server.stop()


@contextmanager
def cache() -> Iterator[str]:
    """Start a Valkey server and return its URL."""
    server = Valkey()
    try:
        yield server.url
    finally:
        server.stop()


@contextmanager
def bare_flask(redis_url: str = "") -> Iterator[int]:
    """Start bare Flask routes on granian, the fastest WSGI server. Returns their port."""
    port = find_free_port()
    options = ["--interface=wsgi", "--workers=1", "--http=1", "--no-ws", "--log-level=critical"]
    process = subprocess.Popen(
        [sys.executable, "-m", "granian", *options, f"--port={port}", "bench.bare:app"],
        cwd=ROOT,
        env={**clean_environment(), **({"BARE_REDIS_URL": redis_url} if redis_url else {})},
        preexec_fn=terminate_with_parent,  # noqa: PLW1509 - only one thread runs when servers are started
    )
    try:
        _wait_for(port)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(port: int) -> None:
    end = time.monotonic() + START_TIMEOUT
    while True:
        try:
            connection = HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/")
            connection.getresponse().read()
            connection.close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, and the seconds until it was complete."""

    seconds: float
    status: int
    body: dict[str, Any]
    headers: tuple[str, ...]


class Client:
    """A persistent connection whose requests can claim any IP address."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)
        self._connection.connect()

    def post(self, path: str, body: dict[str, Any], address: str | None = None) -> Answer:
        text, headers = (
            json.dumps(body),
            {"Content-Type": "application/json", "Accept": "application/json"},
        )
        if address:
            headers["X-Forwarded-For"] = address
        began = time.perf_counter()
        self._connection.request("POST", path, text, headers)
        got = self._connection.getresponse()
        raw = got.read()
        seconds = time.perf_counter() - began
        return Answer(
            seconds, got.status, json.loads(raw), tuple(name for name, _ in got.getheaders())
        )

    def get(self, path: str) -> dict[str, Any]:
        self._connection.request("GET", path, headers={"Accept": "application/json"})
        found: dict[str, Any] = json.loads(self._connection.getresponse().read())
        return found

    def close(self) -> None:
        self._connection.close()


def make_accounts(live: LiveServer, names: list[str]) -> None:
    """Create accounts as users do: register, read the emailed code, confirm."""
    client = Client(live.port)
    for start in range(0, len(names), 20):  # the mailbox shows the latest fifty
        handles = {}
        for index, name in enumerate(names[start : start + 20], start):
            wanted = {"username": name, "email": f"{name}@example.org", "name": "Bench"}
            handles[name] = _accepted(client.post("/v1/register", wanted, address(index)), 202)[
                "registration"
            ]
        codes = {mail["to"]: mail["code"] for mail in client.get("/dev/mailbox")["items"]}
        for index, name in enumerate(handles, start):
            confirmed = {
                "registration": handles[name],
                "code": codes[f"{name}@example.org"],
                "password": PASSWORD,
            }
            _accepted(client.post("/v1/register/confirm", confirmed, address(index)), 200)
    client.close()


def _accepted(answer: Answer, status: int) -> dict[str, Any]:
    if answer.status != status:
        raise RuntimeError(f"no account: {answer.body}")
    return answer.body


def address(number: int) -> str:
    """Return ascending IP addresses, so that rate limits by source do not apply."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
