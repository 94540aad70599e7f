"""Many logins at once, through a serving process."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.live import build_raw_post, send_simultaneously

LOGINS = 64
# A hash of about a third of a second.
EXPENSIVE = {"DOORWARD_ARGON2_TIME_COST": "4", "DOORWARD_ARGON2_MEMORY_KIB": "65536"}
QUICK = 1.0  # seconds, on a machine where other tests run too


@pytest.fixture
def make_crowd(make_live):
    """Start a server and return the function that logs in from many sources at once."""

    def make(**env: str):
        live = make_live(DOORWARD_TRUSTED_PROXIES="127.0.0.1/32", **env)

        def log_in(source: str, name: str) -> tuple[int, float]:
            began = time.monotonic()
            status, _ = live.call(
                "POST",
                "/v1/login",
                {"username": name, "password": "not the password"},
                {"X-Forwarded-For": source},
            )
            return status, time.monotonic() - began

        return live, log_in

    return make


def test_no_login_of_sixty_four_at_once_is_refused(make_live):
    live = make_live(DOORWARD_TRUSTED_PROXIES="127.0.0.1/32")
    requests = [
        build_raw_post(
            "/v1/login",
            {"username": f"user{number}", "password": "not the password"},
            {"X-Forwarded-For": f"10.1.0.{number + 1}"},
        )
        for number in range(LOGINS)
    ]
    answers = send_simultaneously(live.port, requests)
    assert {status for status, _ in answers} == {401}


def test_flood_is_refused_at_once_and_another_source_gets_its_turn(make_crowd):
    live, log_in = make_crowd(**EXPENSIVE)
    log_in("10.2.0.1", "first")  # measures one login
    with ThreadPoolExecutor(LOGINS) as threads:
        began = time.monotonic()
        flood = [threads.submit(log_in, "10.2.0.2", f"user{number}") for number in range(40)]
        time.sleep(0.3)
        other = threads.submit(log_in, "10.2.0.3", "somebody else")
        while time.monotonic() - began < 1.5:
            asked = time.monotonic()
            assert live.call("GET", "/livez")[0] == 200
            assert live.call("GET", "/v1/methods")[0] == 200
            assert time.monotonic() - asked < QUICK
        answers = [future.result() for future in flood]
        assert other.result()[0] == 401
    refused = [seconds for status, seconds in answers if status == 503]
    assert len(refused) >= 10
    assert sum(seconds < QUICK for seconds in refused) >= 5


def test_refused_login_gets_a_problem_document(make_crowd):
    live, log_in = make_crowd(**EXPENSIVE)
    log_in("10.3.0.1", "first")
    body = {"username": "x", "password": "not the password"}
    requests = [build_raw_post("/v1/login", {**body, "username": f"u{n}"}) for n in range(40)]
    refused = [
        problem for status, problem in send_simultaneously(live.port, requests) if status == 503
    ]
    assert refused
    assert {problem["code"] for problem in refused} == {"busy"}
    lines = [json.loads(line) for line in live.log.read_text().splitlines() if line.startswith("{")]
    assert any(line.get("status") == 503 and line["route"] == "/v1/login" for line in lines)
