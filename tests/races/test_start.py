"""Concurrent starts create one signing key, and rate limits hold under concurrent requests."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import create_engine, text

from app.adapters.password_hasher import Capacity
from tests.actors import PASSWORD
from tests.live import CHEAP_HASH as CHEAP
from tests.live import StartingServer, build_raw_post, send_simultaneously
from tests.postgres import create_database

LOGINS = 50
QUOTA = 20


def test_two_processes_on_an_empty_database_create_one_schema_and_key(postgres_url, tmp_path):
    with create_database(postgres_url, "start") as url:
        env = {**CHEAP, "DOORWARD_DATABASE_URL": url}
        servers = [
            StartingServer(tmp_path / f"{number}.log", "--threads", "8", env=env)
            for number in range(2)
        ]
        try:
            for server in servers:
                server.await_ready()
            listed = [server.call("GET", "/.well-known/jwks.json") for server in servers]
        finally:
            codes = [server.stop() for server in servers]
        assert [status for status, _ in listed] == [200, 200]
        assert listed[0] == listed[1]
        assert len(listed[0][1]["keys"]) == 1
        engine = create_engine(url)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM signing_keys")).scalar() == 1
        engine.dispose()
        assert codes == [0, 0]


def test_eight_replicas_asked_at_once_create_one_signing_key(make_service, database_url):
    services = [make_service(database_url) for _ in range(8)]
    gate = threading.Barrier(16)

    def get_jwks(number: int) -> tuple[int, str]:
        client = services[number % 8].app.test_client()
        gate.wait()
        answer = client.get("/.well-known/jwks.json")
        return answer.status_code, answer.text

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(get_jwks, range(16)))
    assert {status for status, _ in answers} == {200}
    assert len({text for _, text in answers}) == 1
    assert services[0].scalar("SELECT count(*) FROM signing_keys") == 1


def test_request_with_a_clock_behind_the_first_key_is_answered(make_service, database_url):
    ahead, behind = make_service(database_url), make_service(database_url)
    ahead.clock.push(seconds=3)
    assert ahead.actor().get("/.well-known/jwks.json").status_code == 200
    assert behind.actor().get("/.well-known/jwks.json").status_code == 200
    ann = behind.actor("ann").sign_in()
    assert ann.whoami().status_code == 200


def test_fifty_logins_at_once_in_one_process_reach_the_limit_exactly(make_service):
    service = make_service(capacity=Capacity(threads=2 * LOGINS), limit_login=f"{QUOTA}/minute")
    ann = service.actor("ann")
    gate = threading.Barrier(LOGINS)

    def fail_login(number: int) -> int:
        gate.wait()
        return ann.login(username=f"nobody-{number}").status_code

    with ThreadPoolExecutor(LOGINS) as pool:
        answers = Counter(pool.map(fail_login, range(LOGINS)))
    assert answers == {401: QUOTA, 429: LOGINS - QUOTA}


def test_fifty_logins_over_two_processes_never_exceed_the_limit(make_live, empty_postgres_url):
    live = make_live(
        "--workers",
        "2",
        "--threads",
        "24",
        database_url=empty_postgres_url,
        DOORWARD_LIMIT_LOGIN=f"{QUOTA}/minute",
    )
    guesses = [
        build_raw_post("/v1/login", {"username": f"nobody-{number}", "password": PASSWORD})
        for number in range(LOGINS)
    ]
    answers = Counter(status for status, _ in send_simultaneously(live.port, guesses))
    assert answers[429] >= LOGINS - QUOTA
    assert set(answers) <= {401, 429, 503}
