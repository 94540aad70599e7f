"""Graceful stop: readiness fails at once, requests in progress finish, nothing else starts."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from aiosmtpd.controller import Controller

from tests.actors import PASSWORD
from tests.postgres import find_free_port, list_children

EXITS_WITHIN = 25.0  # seconds
IMMEDIATE_SECONDS = 1.0  # seconds; on a machine where other tests run too
# A hash that takes seconds, as on a very busy machine.
EXPENSIVE = {"DOORWARD_ARGON2_TIME_COST": "20", "DOORWARD_ARGON2_MEMORY_KIB": "98304"}


def connect(live) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=30)
    connection.connect()
    return connection


def send_get(connection, path="/readyz"):
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read()), answer.headers


def get_readiness(live):
    """Request readiness on a new connection."""
    with closing(connect(live)) as connection:
        return send_get(connection)


def build_registration(name: str) -> dict[str, str]:
    return {
        "username": name,
        "email": f"{name}@example.org",
        "name": name.title(),
        "password": PASSWORD,
    }


def stop_and_measure(live, number: signal.Signals) -> tuple[int, float]:
    """Return the exit code and the seconds until the process was gone."""
    began = time.monotonic()
    live.process.send_signal(number)
    return live.process.wait(EXITS_WITHIN), time.monotonic() - began


def wait_until(condition, *, within: float = 30.0) -> None:
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def assert_red(answer) -> None:
    status, problem, headers = answer
    assert (status, problem["code"], problem["checks"]) == (503, "not_ready", {"draining": "yes"})
    assert headers["Retry-After"]
    assert headers["Connection"] == "close"


def test_login_in_progress_finishes_while_readyz_fails(make_live):
    live = make_live(**EXPENSIVE)
    handle = live.call("POST", "/v1/register", build_registration("ann"))[1]["registration"]
    code = live.mailbox("ann@example.org")[0]["code"]
    assert (
        live.call("POST", "/v1/register/confirm", {"registration": handle, "code": code})[0] == 200
    )
    with closing(connect(live)) as kept, ThreadPoolExecutor(2) as threads:
        assert send_get(kept)[0] == 200
        login = threads.submit(
            live.call, "POST", "/v1/login", {"username": "ann", "password": PASSWORD}
        )
        time.sleep(0.5)
        gone = threads.submit(stop_and_measure, live, signal.SIGTERM)
        wait_until(lambda: get_readiness(live)[0] == 503, within=2.5 * IMMEDIATE_SECONDS)
        assert_red(get_readiness(live))
        assert_red(send_get(kept))
        assert not login.done()
        assert live.call("GET", "/livez")[0] == 200  # it is stopping, not broken
        status, tokens = login.result()
        assert (status, tokens["token_type"]) == (200, "Bearer")
        assert gone.result()[0] == 0


def test_readyz_fails_first_and_then_connections_are_refused(make_live):
    live = make_live("--threads", "4")
    idle, silent = (
        connect(live),
        connect(live),
    )  # one connection between two requests, and one that never sends anything
    with closing(idle), closing(silent), ThreadPoolExecutor(1) as thread:
        assert send_get(idle)[0] == 200
        began = time.monotonic()
        gone = thread.submit(stop_and_measure, live, signal.SIGTERM)
        time.sleep(IMMEDIATE_SECONDS)
        while True:
            try:
                assert_red(get_readiness(live))
            except ConnectionError:
                break
            time.sleep(0.05)
        assert 1.5 < time.monotonic() - began < 10
        code, seconds = gone.result()
        assert code == 0
        assert seconds < 18


def test_second_signal_stops_at_once(make_live):
    live = make_live("--workers", "1")
    live.process.send_signal(signal.SIGTERM)
    time.sleep(IMMEDIATE_SECONDS)
    code, seconds = stop_and_measure(live, signal.SIGINT)
    assert code == 0
    assert seconds < 8


def test_interrupt_stops_without_draining(make_live):
    """Send SIGINT, as Ctrl-C does, with an idle connection and with a request whose body never arrives."""
    live = make_live()
    idle, slow = connect(live), socket.create_connection(("127.0.0.1", live.port))
    with closing(idle), closing(slow):
        assert send_get(idle)[0] == 200
        slow.sendall(
            b"POST /v1/login HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        time.sleep(0.3)
        for worker in list_children(live.process.pid):
            os.kill(worker, signal.SIGINT)
        code, seconds = stop_and_measure(live, signal.SIGINT)
        assert code == 0
        assert seconds < 8


class Slow:
    """An SMTP server that is slow to accept each message."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.started, self.taken = seconds, threading.Event(), []

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
        self.started.set()
        await asyncio.sleep(self.seconds)
        self.taken.append(envelope.rcpt_tos[0])
        return "250 OK"


@pytest.fixture
def make_smtp():
    made = []

    def make(seconds: float):
        handler = Slow(seconds)
        controller = Controller(handler, hostname="127.0.0.1", port=find_free_port())
        controller.start()
        made.append(controller)
        return handler, f"smtp://127.0.0.1:{controller.port}"

    yield make
    for controller in made:
        controller.stop()


def test_email_in_progress_is_finished_and_no_other_started(make_live, make_smtp):
    handler, url = make_smtp(1.0)
    live = make_live(DOORWARD_SMTP_URL=url)
    for name in ("ann", "bob", "cat"):
        assert live.call("POST", "/v1/register", build_registration(name))[0] == 202
    assert handler.started.wait(20)
    assert stop_and_measure(live, signal.SIGTERM)[0] == 0
    taken = list(handler.taken)
    assert len(taken) in {1, 2}
    live.start()
    wait_until(lambda: len(handler.taken) == 3)
    assert sorted(handler.taken) == [f"{name}@example.org" for name in ("ann", "bob", "cat")]
