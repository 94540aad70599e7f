"""Connections: pipelining, deadlines, unusual requests, unix sockets, and replaced workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.actors import SECRET
from tests.live import LiveServer, run_command
from tests.postgres import find_free_port, list_children

HOST = b"Host: 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A shared server for tests that leave it unchanged."""
    folder = tmp_path_factory.mktemp("connections")
    server = LiveServer(
        folder / "live.log", env={"DOORWARD_DATABASE_URL": f"sqlite:///{folder}/doorward.db"}
    )
    yield server
    server.stop()


def exchange(live: LiveServer, raw: bytes) -> bytes:
    """Send bytes and return everything that is received until the connection ends."""
    with socket.create_connection(("127.0.0.1", live.port), 20) as connection:
        connection.sendall(raw)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    return received


def count_answers(received: bytes) -> list[int]:
    return [int(part[:3]) for part in received.split(b"HTTP/1.1 ")[1:]]


def test_pipelined_requests_are_answered_in_order(live):
    first = b"GET /v1/whoami HTTP/1.1\r\n" + HOST + b"\r\n"
    second = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
    last = b"GET /nowhere HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
    assert count_answers(exchange(live, first + second + last)) == [401, 200, 404]


def test_broken_request_after_a_good_one_ends_the_connection(live):
    good = b"GET /v1/methods HTTP/1.1\r\n" + HOST + b"\r\n"
    assert count_answers(exchange(live, good + b"BROKEN\r\n\r\n")) in ([200], [200, 400])


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /v1/login HTTP/1.1\r\n"
        + HOST
        + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/login HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        b"POST /v1/login HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
        b"GET http://127.0.0.1/livez HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /livez HTTP/1.1\n" + b"Host: 127.0.0.1\n\n",
        b"GET /livez HTTP/1.1\r\n" + HOST + b"X-A : b\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_ambiguous_request_is_refused(live, raw):
    received = exchange(live, raw)
    assert count_answers(received) == [400]
    assert json.loads(received.partition(b"\r\n\r\n")[2])["code"] == "bad_request"


def test_two_hosts_are_refused(live):
    raw = (
        b"GET /v1/methods HTTP/1.1\r\n" + HOST + b"Host: evil.example\r\nConnection: close\r\n\r\n"
    )
    assert count_answers(exchange(live, raw)) == [400]


def test_chunked_body_is_read_within_the_limits(live):
    head = (
        b"POST /v1/login HTTP/1.1\r\n"
        + HOST
        + b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    body = b'{"username":"ann","password":"not the password"}'
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    assert count_answers(exchange(live, head + chunks)) == [401]
    big = b"4000\r\n" + b" " * 0x4000 + b"\r\n10\r\n" + b" " * 16 + b"\r\n0\r\n\r\n"
    assert count_answers(exchange(live, head + big)) == [413]


def test_upgrade_is_ignored_and_ends_the_connection(live):
    raw = b"GET /livez HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert count_answers(exchange(live, raw)) == [200]


def test_blank_lines_do_not_keep_a_connection_open(live):
    with socket.create_connection(("127.0.0.1", live.port), 20) as connection:
        began = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT012 - which of the calls fails is open
            while time.monotonic() - began < 18:
                connection.sendall(b"\r\n")
                time.sleep(0.5)
                connection.setblocking(False)
                try:
                    if connection.recv(1) == b"":
                        raise OSError("closed")
                except BlockingIOError:
                    pass
                connection.setblocking(True)
    assert 9 < time.monotonic() - began < 16


def test_unix_socket_is_served(tmp_path):
    path = tmp_path / "doorward.sock"
    live = LiveServer.__new__(LiveServer)
    live.more, live.log = {}, tmp_path / "live.log"
    live.env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DOORWARD_")},
        "DOORWARD_SECRET_KEY": SECRET,
        "DOORWARD_DATABASE_URL": f"sqlite:///{tmp_path}/doorward.db",
        "DOORWARD_PUBLIC_URL": "http://127.0.0.1",
    }
    live.words = ["serve", "--bind", f"unix:{path}", "--migrate"]
    live.launch()
    try:
        end = time.monotonic() + 30
        while not path.exists():
            assert time.monotonic() < end, live.log.read_text()
            time.sleep(0.05)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(os.fspath(path))
            connection.sendall(
                b"GET /v1/methods HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
            )
            assert connection.recv(12) == b"HTTP/1.1 200"
    finally:
        assert live.stop(signal.SIGTERM) == 0


def test_port_in_use_is_one_line_and_exit_code_1(live, tmp_path):
    done = run_command(
        *("serve", "--migrate", "--bind", f"127.0.0.1:{live.port}"),
        env={"DOORWARD_DATABASE_URL": f"sqlite:///{tmp_path}/doorward.db"},
    )
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{live.port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_killed_parent_ends_its_workers(make_live):
    live = make_live()
    (worker,) = list_children(live.process.pid)
    live.process.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists():
        assert time.monotonic() < end
        time.sleep(0.1)
    assert find_free_port()
