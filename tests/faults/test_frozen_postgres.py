"""A frozen PostgreSQL: requests end in 503 in time, nothing is lost, the service recovers."""

from __future__ import annotations

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import Any

import pytest
from psycopg.errors import QueryCanceled
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.adapters import migrations
from app.adapters.database import is_database_unavailable
from tests.actors import PASSWORD
from tests.live import WITHOUT_LIMITS, LiveServer
from tests.postgres import Postgres

DEADLINE_SECONDS = 6.0  # seconds; without a deadline, a wait takes twenty
IMMEDIATE_SECONDS = 2.0  # before any deadline
RECOVERS_WITHIN = 20.0
MAX_FREEZE_SECONDS = 20.0
THREADS = "16"


@pytest.fixture(scope="module")
def postgres():
    """Start a separate server that tests freeze."""
    server = Postgres()
    migrations.upgrade(server.url())
    yield server
    server.stop()


@pytest.fixture(scope="module")
def live_server(postgres, tmp_path_factory):
    """Start the service and register ann."""
    cheap = {
        "DOORWARD_ARGON2_MEMORY_KIB": "64",
        "DOORWARD_ARGON2_TIME_COST": "1",
        "DOORWARD_DATABASE_URL": postgres.url(),
    }
    limits = WITHOUT_LIMITS
    live = LiveServer(
        tmp_path_factory.mktemp("frozen") / "live.log",
        "--threads",
        THREADS,
        env={**cheap, **limits},
    )
    sign_up(live)
    yield live
    live.stop()


@pytest.fixture
def live(live_server):
    """Wait until the service has recovered from the previous test."""
    wait_until(lambda: send_request(live_server, "GET", "/readyz").status == 200)
    return live_server


@contextmanager
def freeze(server):
    server.freeze()
    rescue = threading.Timer(
        MAX_FREEZE_SECONDS, server.thaw
    )  # a missing deadline must not hang the test
    rescue.start()
    try:
        yield
    finally:
        rescue.cancel()
        server.thaw()


@dataclass
class Answer:
    status: int
    body: Any
    headers: Message
    seconds: float

    @property
    def is_unavailable(self) -> bool:
        return (
            self.status == 503
            and self.body["code"] == "unavailable"
            and int(self.headers["Retry-After"]) > 0
        )


def send_request(
    live, method: str, path: str, body: Any = None, token: str | None = None
) -> Answer:
    """Send a request on a new connection and measure its duration."""
    headers = {"Content-Type": "application/json"} | (
        {"Authorization": f"Bearer {token}"} if token else {}
    )
    connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=30)
    began = time.monotonic()
    connection.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = connection.getresponse()
    raw = answer.read()
    seconds = time.monotonic() - began
    connection.close()
    return Answer(answer.status, json.loads(raw) if raw else None, answer.headers, seconds)


def log_in(live) -> Answer:
    return send_request(live, "POST", "/v1/login", {"username": "ann", "password": PASSWORD})


def get_identity(live, tokens) -> Answer:
    return send_request(live, "GET", "/v1/whoami", token=tokens["access_token"])


def check_credential(live, tokens) -> Answer:
    return send_request(live, "GET", "/authz/forward-auth/default", token=tokens["access_token"])


def refresh(live, tokens) -> Answer:
    return send_request(
        live, "POST", "/v1/token/refresh", {"refresh_token": tokens["refresh_token"]}
    )


def log_out(live, tokens) -> Answer:
    return send_request(live, "POST", "/v1/logout", token=tokens["access_token"])


def sign_up(live) -> None:
    body = {"username": "ann", "email": "ann@example.org", "name": "Ann", "password": PASSWORD}
    handle = live.call("POST", "/v1/register", body)[1]["registration"]
    code = live.mailbox("ann@example.org")[0]["code"]
    assert (
        live.call("POST", "/v1/register/confirm", {"registration": handle, "code": code})[0] == 200
    )


def create_sessions(live, number: int) -> list[dict[str, Any]]:
    return [log_in(live).body for _ in range(number)]


def run_concurrently(calls) -> list[Answer]:
    with ThreadPoolExecutor(len(calls)) as threads:
        return [future.result() for future in [threads.submit(*call) for call in calls]]


def wait_until(condition, *, within: float = RECOVERS_WITHIN) -> float:
    """Wait for the condition and return the seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within
        time.sleep(0.05)
    return time.monotonic() - began


def assert_unavailable(answers: list[Answer]) -> None:
    assert [(answer.status, answer.body) for answer in answers if not answer.is_unavailable] == []
    assert max(answer.seconds for answer in answers) < DEADLINE_SECONDS


def test_frozen_database_is_503_in_time_and_recovers(live, postgres):
    sessions_before = create_sessions(live, 12)
    reading, refreshing, leaving = sessions_before[:4], sessions_before[4:8], sessions_before[8:]
    everything = [
        *[(get_identity, live, tokens) for tokens in reading[:2]],
        *[(check_credential, live, tokens) for tokens in reading[2:]],
        *[(refresh, live, tokens) for tokens in refreshing],
        *[(log_out, live, tokens) for tokens in leaving],
        (log_in, live),
        (log_in, live),
    ]
    run_concurrently(
        [(get_identity, live, tokens) for tokens in sessions_before]
    )  # all pools have connections, and each will hang
    with freeze(postgres):
        probes = [(send_request, live, "GET", "/livez"), (send_request, live, "GET", "/readyz")]
        *answers, alive, ready = run_concurrently([*everything, *probes])
        assert_unavailable(answers)
        assert (alive.status, alive.seconds < IMMEDIATE_SECONDS) == (200, True)
        assert (ready.status, ready.body["code"], ready.seconds < DEADLINE_SECONDS) == (
            503,
            "not_ready",
            True,
        )
        for _ in range(
            3
        ):  # later requests, while the service knows that the server does not respond
            assert_unavailable(run_concurrently(everything))
            assert send_request(live, "GET", "/livez").seconds < IMMEDIATE_SECONDS
            time.sleep(0.4)
    wait_until(lambda: get_identity(live, reading[0]).status == 200)
    assert send_request(live, "GET", "/readyz").status == 200
    assert [get_identity(live, tokens).status for tokens in [*reading, *refreshing]] == [200] * 8
    assert [refresh(live, tokens).status for tokens in refreshing] == [200] * 4
    assert [log_out(live, tokens).status in {204, 401} for tokens in leaving] == [True] * 4
    assert [get_identity(live, tokens).status for tokens in leaving] == [401] * 4
    assert log_in(live).status == 200


class Traffic:
    """Clients that refresh and log out while the server freezes, and their responses."""

    def __init__(self, live) -> None:
        self.live = live
        self.over = threading.Event()
        self.answers: list[Answer] = []
        self.after_logout: list[int] = []

    def record(self, answer: Answer) -> Answer:
        self.answers.append(answer)
        return answer

    def refresh_repeatedly(self, tokens: dict[str, Any]) -> None:
        while not self.over.is_set():
            answer = self.record(refresh(self.live, tokens))
            tokens = answer.body if answer.status == 200 else tokens
        wait_until(lambda: refresh(self.live, tokens).status == 200)

    def log_out_repeatedly(self) -> None:
        while not self.over.is_set():
            answer = self.record(log_in(self.live))
            if answer.status == 200 and self.record(log_out(self.live, answer.body)).status == 204:
                self.after_logout.append(self.get_final_status(answer.body))

    def get_final_status(self, tokens: dict[str, Any]) -> int:
        """Return the first response of the check that is not 503."""
        wait_until(lambda: get_identity(self.live, tokens).status != 503)
        return get_identity(self.live, tokens).status


def test_work_in_progress_loses_nothing(live, postgres):
    """Freeze the server at any point of a request, even between a statement and its commit."""
    traffic = Traffic(live)
    with ThreadPoolExecutor(6) as threads:
        running = [
            threads.submit(traffic.refresh_repeatedly, tokens)
            for tokens in create_sessions(live, 4)
        ]
        running += [threads.submit(traffic.log_out_repeatedly) for _ in range(2)]
        try:
            for seconds in (1, 3.2):  # shorter and longer than the deadline
                time.sleep(0.7)
                with freeze(postgres):
                    time.sleep(seconds)
            time.sleep(1.5)
        finally:
            traffic.over.set()
        for future in running:
            future.result()
    assert {answer.status for answer in traffic.answers} == {200, 204, 503}
    assert_unavailable([answer for answer in traffic.answers if answer.status == 503])
    assert max(answer.seconds for answer in traffic.answers) < DEADLINE_SECONDS
    assert len(traffic.after_logout) > 2
    assert set(traffic.after_logout) <= {401, 503}


def test_killed_server_is_used_again_after_its_restart(live, postgres):
    sessions_before = create_sessions(live, 6)
    run_concurrently([(get_identity, live, tokens) for tokens in sessions_before])
    postgres.kill()
    answers = run_concurrently(
        [
            *[(get_identity, live, tokens) for tokens in sessions_before[:3]],
            *[(refresh, live, tokens) for tokens in sessions_before[3:]],
            (log_in, live),
        ]
    )
    assert_unavailable(answers)
    assert send_request(live, "GET", "/livez").status == 200
    assert send_request(live, "GET", "/readyz").status == 503
    postgres.start()
    wait_until(lambda: get_identity(live, sessions_before[0]).status == 200)
    assert {
        answer.status
        for answer in run_concurrently([(refresh, live, tokens) for tokens in sessions_before])
    } == {200}


def measure_hang(act) -> tuple[bool, float]:
    """Return whether the call failed as an unavailable database, and after how many seconds."""
    began = time.monotonic()
    try:
        act()
    except Exception as error:
        return is_database_unavailable(error), time.monotonic() - began
    return False, time.monotonic() - began


def test_every_blocking_call_has_a_deadline(make_service, postgres):
    database = make_service(postgres.url()).units.database
    sessions = [database.open_write_session() for _ in range(3)]
    for session in sessions:
        session.execute(text("SELECT 1"))
    with database.open_autocommit_session() as idle:
        idle.execute(text("SELECT 1"))

    def query_after_rollback():
        sessions[2].rollback()
        sessions[2].execute(text("SELECT 1"))

    def query_on_idle_connection():
        with database.open_autocommit_session() as session:
            session.execute(text("SELECT 1"))

    acts = [
        lambda: sessions[0].execute(text("SELECT 1")),
        sessions[1].commit,
        query_after_rollback,
        query_on_idle_connection,
    ]
    with freeze(postgres), ThreadPoolExecutor(len(acts)) as threads:
        found = list(threads.map(measure_hang, acts))
        assert (
            measure_hang(query_on_idle_connection)[1] < IMMEDIATE_SECONDS
        )  # the silence is known by now
    assert [away for away, _ in found] == [True] * len(acts)
    assert max(seconds for _, seconds in found) < DEADLINE_SECONDS
    for session in sessions:
        session.close()
    wait_until(lambda: not measure_hang(query_on_idle_connection)[0])


def test_lost_connection_affects_only_its_own_request(make_service, postgres):
    """One stuck backend affects other requests only briefly."""
    database = make_service(postgres.url()).units.database
    with database.open_write_session() as stuck, database.open_write_session() as other:
        backend = stuck.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with postgres.pause_backend(backend), ThreadPoolExecutor(1) as thread:
            waiting = thread.submit(measure_hang, lambda: stuck.execute(text("SELECT 1")))
            while not waiting.done():
                assert other.execute(text("SELECT 1")).scalar_one() == 1
                time.sleep(0.05)
            assert waiting.result()[0]
            wait_until(
                lambda: (
                    not measure_hang(
                        lambda: database.open_write_session().execute(text("SELECT 1"))
                    )[0]
                ),
                within=5,
            )


def test_slow_statement_is_not_cut_off(make_service, postgres):
    """A slow server ends the statement before the watchdog does."""
    database = make_service(postgres.url()).units.database
    with database.open_write_session() as session:
        assert session.execute(text("SELECT 1 FROM pg_sleep(1.5)")).scalar_one() == 1
        with pytest.raises(OperationalError) as cut_off:
            session.execute(text("SELECT pg_sleep(10)"))
        assert isinstance(cut_off.value.orig, QueryCanceled), (
            "the server reported it, and the connection is intact"
        )
        assert is_database_unavailable(cut_off.value)
        session.rollback()
        assert session.execute(text("SELECT 1")).scalar_one() == 1
