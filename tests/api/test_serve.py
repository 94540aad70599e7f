"""`python -m app serve`: start, stop, rejected settings, and slow clients."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from app.adapters import migrations
from tests.cli_runner import run_cli
from tests.live import CHEAP_HASH as CHEAP
from tests.live import LiveServer, SubprocessServer, run_command

MAX_SECONDS = 10.0  # seconds for the headers, and for the body
HASTE = 4.0  # tolerance for a loaded machine; a blocked request waits ten seconds
PRODUCTION = {
    "DOORWARD_ENV": "production",
    "DOORWARD_PUBLIC_URL": "https://door.example.com",
    "DOORWARD_SMTP_URL": "smtp://mail.example.com",
}


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A shared server for tests that leave it unchanged."""
    folder = tmp_path_factory.mktemp("serve")
    server = LiveServer(
        folder / "live.log",
        "--threads",
        "8",
        env={**CHEAP, "DOORWARD_DATABASE_URL": f"sqlite:///{folder}/doorward.db"},
    )
    yield server
    server.stop()


@pytest.fixture
def sqlite_env(tmp_path) -> dict[str, str]:
    return {"DOORWARD_DATABASE_URL": f"sqlite:///{tmp_path}/new/doorward.db"}


def test_start_prints_the_url(live):
    output = live.log.read_text()
    for page in ("/docs", "/dev/mailbox", "/login"):
        assert f"{live.url}{page}\n" in output
    assert f"make admin NAME=U EMAIL=E BIND=127.0.0.1:{live.port}\n" in output


def exchange(
    live: LiveServer, raw: bytes, *, seconds: float = 20
) -> tuple[int, dict[str, str], bytes]:
    """Return everything received on a new connection until its end."""
    with socket.create_connection(("127.0.0.1", live.port), seconds) as connection:
        connection.sendall(raw)
        return read(connection)


def read(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    if not received:
        return 0, {}, b""
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    return (
        int(first.split()[1]),
        {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)},
        body,
    )


def measure_response(live: LiveServer) -> float:
    began = time.monotonic()
    assert live.call("GET", "/livez")[0] == 200
    return time.monotonic() - began


# Start and stop.


def test_serving_process_reports_readiness(live):
    status, answer = live.call("GET", "/readyz")
    assert (status, answer) == (
        200,
        {
            "status": "ready",
            "checks": {"database": "ok", "schema": "ok", "clock": "ok", "keys": "ok"},
        },
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_with_exit_code_0_and_without_a_traceback(make_live, number):
    live = make_live("--threads", "4")
    assert live.call("GET", "/livez")[0] == 200
    began = time.monotonic()
    assert live.stop(number) == 0
    assert time.monotonic() - began < 15  # less than the maximum duration of a request
    assert "Traceback" not in live.log.read_text()


def test_request_in_progress_is_answered_before_the_stop(make_live):
    live = make_live("--threads", "4")
    with socket.create_connection(("127.0.0.1", live.port), 20) as connection:
        connection.sendall(
            b"POST /v1/register/resend HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n"
        )
        time.sleep(0.6)  # the server is reading it by now
        live.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        connection.sendall(b'{"email":"ann@example.org"}')
        assert read(connection)[0] == 202
    assert live.stop() == 0


def test_sqlite_folder_and_file_are_private(sqlite_env):
    result = run_cli("db", "upgrade", **sqlite_env)
    assert (result.returncode, result.stdout) == (
        0,
        f"Upgraded the schema from nothing to {migrations.get_required_revision()}.\n",
    ), result.stderr
    path = Path(sqlite_env["DOORWARD_DATABASE_URL"].removeprefix("sqlite:///"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


# Rejected starts.


def test_sqlite_is_refused_with_two_processes(sqlite_env):
    result = run_command("serve", "--workers", "2", "--migrate", env=sqlite_env)
    assert result.returncode == 2
    assert "SQLite supports a single process" in result.stderr
    assert "PostgreSQL" in result.stderr


def test_outdated_schema_is_refused_with_the_command_to_run(sqlite_env):
    result = run_command("serve", env=sqlite_env)
    assert result.returncode == 3
    assert "python -m app db upgrade" in result.stderr
    assert "Traceback" not in result.stderr


def test_unreachable_database_is_one_line_and_no_traceback():
    result = run_command(
        "serve",
        "--migrate",
        env={"DOORWARD_DATABASE_URL": "postgresql://door:hunter2hunter2@127.0.0.1:1/door"},
    )
    assert result.returncode in {1, 3}
    assert "does not answer" in result.stderr
    assert "Traceback" not in result.stderr
    assert "hunter2" not in result.stdout + result.stderr


def test_production_reports_all_invalid_settings_without_values():
    result = run_command(
        "serve",
        env={
            "DOORWARD_ENV": "production",
            "DOORWARD_SECRET_KEY": "hunter2",
            "DOORWARD_SMTP_URL": "hunter2://hunter2",
            "DOORWARD_TRUSTED_PROXIES": "hunter2",
            "DOORWARD_CORS_ORIGINS": "*",
            "DOORWARD_ARGON2_MEMORY_KIB": "64",
            "DOORWARD_REPLICAS": "2",
            "DOORWARD_RESOURCES": '{"hunter2": "hunter2',
            "DOORWARD_HUNTER": "hunter2",
            "FLASK_DEBUG": "1",
        },
    )
    assert result.returncode == 2
    for name in (
        "SECRET_KEY",
        "SMTP_URL",
        "TRUSTED_PROXIES",
        "CORS_ORIGINS",
        "ARGON2_MEMORY_KIB",
        "DATABASE_URL",
        "RESOURCES",
        "HUNTER",
        "PUBLIC_URL",
    ):
        assert f"  DOORWARD_{name}" in result.stderr
    assert "  FLASK_DEBUG" in result.stderr
    assert "hunter2" not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr


def test_production_serves_without_the_dev_mailbox_and_docs(tmp_path):
    env = {**PRODUCTION, "DOORWARD_DATABASE_URL": f"sqlite:///{tmp_path}/doorward.db"}
    live = SubprocessServer(tmp_path / "live.log", "--threads", "4", env=env)
    try:
        host = {"Host": "door.example.com"}
        assert live.call("GET", "/v1/methods", headers=host)[0] == 200
        assert [
            live.call("GET", path, headers=host)[0]
            for path in ("/dev/mailbox", "/docs", "/openapi.json")
        ] == [404] * 3
        assert live.call("GET", "/v1/methods")[0] == 400, "loopback is not a trusted host"
        assert "your mail" not in live.log.read_text()
    finally:
        assert live.stop() == 0


# Requests that cannot be parsed.

BROKEN = {
    "a request line too long": (
        b"GET /" + b"a" * 8200 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        414,
        "uri_too_long",
    ),
    "a header too long": (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Long: " + b"a" * 9000 + b"\r\n\r\n",
        431,
        "headers_too_large",
    ),
    "too many headers": (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-A: a\r\n" * 101 + b"\r\n",
        431,
        "headers_too_large",
    ),
    "no HTTP": (b"<script>alert(1)</script>\r\n\r\n", 400, "bad_request"),
    "an unknown coding": (
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: secret\r\n\r\n",
        501,
        "transfer_coding_unknown",
    ),
    "two lengths": (
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        400,
        "bad_request",
    ),
    "length and coding": (
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0",
        400,
        "bad_request",
    ),
    "a folded header": (
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: a\r\n b\r\n\r\n",
        400,
        "bad_request",
    ),
}


@pytest.mark.parametrize(("raw", "status", "code"), BROKEN.values(), ids=BROKEN)
def test_unparsable_request_gets_a_problem_document(live, raw, status, code):
    answered, headers, body = exchange(live, raw)
    problem = json.loads(body)
    assert (answered, problem["status"], problem["code"]) == (status, status, code)
    assert headers["content-type"] == "application/problem+json"
    assert problem["request_id"] == headers["x-request-id"]
    assert headers["cache-control"] == "no-store"
    assert {
        "content-security-policy",
        "x-content-type-options",
        "referrer-policy",
        "strict-transport-security",
    } <= set(headers)
    assert headers["connection"] == "close"
    assert not any(word in body for word in (b"<", b"a" * 20, b"secret", b"uvicorn"))


@pytest.mark.parametrize(
    "header",
    [
        "SCRIPT_NAME: /v1",
        "SCRIPT_NAME: /v1/whoami",
        "PATH_INFO: /livez",
        "Script-Name: /v1",
        "Path-Info: /livez",
    ],
)
def test_request_headers_cannot_choose_the_route(live, header):
    raw = f"GET /v1/whoami HTTP/1.1\r\nHost: 127.0.0.1\r\n{header}\r\nConnection: close\r\n\r\n"
    assert exchange(live, raw.encode())[0] == 401


def test_request_headers_cannot_claim_tls(live):
    raw = b"GET /v1/whoami HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\nConnection: close\r\n\r\n"
    assert exchange(live, raw)[0] == 401


# Slow clients.


def test_idle_connections_do_not_block_others(live):
    request = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    stubborn = [socket.create_connection(("127.0.0.1", live.port), 20) for _ in range(12)]
    try:
        for connection in stubborn:
            connection.sendall(request)
        time.sleep(0.2)
        assert measure_response(live) < HASTE
        assert all(connection.recv(12) == b"HTTP/1.1 200" for connection in stubborn)
    finally:
        for connection in stubborn:
            connection.close()


def test_client_sending_an_oversized_body_still_reads_the_answer(live):
    head = b"POST /v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n"
    for _ in range(5):
        status, _, body = exchange(live, head + b"Connection: close\r\n\r\n" + b" " * 60000)
        assert (status, json.loads(body)["code"]) == (413, "body_too_large")


class Dribble(threading.Thread):
    """A client that sends a byte now and then, and records the response and its delay."""

    def __init__(self, live: LiveServer, begin: bytes, rest: bytes) -> None:
        super().__init__(daemon=True)
        self._connection = socket.create_connection(("127.0.0.1", live.port), 30)
        self._begin, self._rest = begin, rest
        self.answer: tuple[int, dict[str, str], bytes] = (0, {}, b"")
        self.seconds = 0.0

    def run(self) -> None:
        began = time.monotonic()
        feeding = threading.Thread(target=self._feed, daemon=True)
        feeding.start()
        with suppress(OSError):  # a reset is as good as an end
            self.answer = read(self._connection)
        self.seconds = time.monotonic() - began
        self._connection.close()

    def _feed(self) -> None:
        try:
            self._connection.sendall(self._begin)
            for number in range(len(self._rest)):
                self._connection.sendall(self._rest[number : number + 1])
                time.sleep(0.4)
        except OSError:
            return


def test_slow_headers_and_bodies_are_cut_off_after_ten_seconds(live):
    post = b"POST /v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    headers = [
        Dribble(live, b"GET /livez HTTP/1.1\r\n", b"X-Slow: " + b"a" * 100) for _ in range(2)
    ]
    bodies = [Dribble(live, post, b" " * 99) for _ in range(2)]
    stuck = [Dribble(live, b"GET /livez HTTP/1.1\r\nX-Slow:", b""), Dribble(live, post, b"")]
    for client in [*headers, *bodies, *stuck]:
        client.start()
    waits = []
    while any(client.is_alive() for client in [*headers, *bodies, *stuck]):
        waits.append(measure_response(live))
        time.sleep(0.5)
    assert max(waits) < HASTE
    for client in [*headers, *bodies, *stuck]:
        assert MAX_SECONDS - 0.5 < client.seconds < MAX_SECONDS + 1 + 2 * HASTE
    assert {client.answer[0] for client in [*headers, stuck[0]]} == {0}
    for client in [*bodies, stuck[1]]:
        assert client.answer[0] == 400
        assert json.loads(client.answer[2])["code"] == "incomplete_body"
    assert live.call("GET", "/readyz")[0] == 200


def test_server_output_contains_no_secret(live):
    live.call("POST", "/v1/login", {"username": "ann", "password": "a password that nobody has"})
    output = live.log.read_text()
    assert "a password that nobody has" not in output
    assert os.fspath(live.log.parent) not in output, "the output does not contain the database path"
    assert all(json.loads(line) for line in output.splitlines() if line.startswith("{"))
