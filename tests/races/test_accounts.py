"""Concurrent registrations and confirmations: of many simultaneous requests, one wins."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.actors import PASSWORD
from tests.live import build_raw_post, send_simultaneously

RACERS = 16
NUMBERS = itertools.count()


@pytest.fixture
def name() -> str:
    """Return a username that no other race uses, because the server is shared."""
    return f"racer{next(NUMBERS)}"


def build_registration(name: str, email: str) -> dict[str, str]:
    return {"username": name, "email": email, "name": "Racer", "password": PASSWORD}


def start_registration(live, name: str) -> tuple[str, str, str]:
    """Start a registration and return it with its emailed code and link token."""
    status, answer = live.call(
        "POST", "/v1/register", build_registration(name, f"{name}@example.org")
    )
    assert status == 202
    mail = live.mailbox(f"{name}@example.org")[0]
    return answer["registration"], mail["code"], mail["links"][0].rpartition("/")[2]


def count_statuses(answers) -> Counter[int]:
    return Counter(status for status, _ in answers)


def test_sixteen_registrations_of_one_name_yield_one_account(live, name):
    wanted = [
        build_raw_post("/v1/register", build_registration(name, f"{name}.{number}@example.org"))
        for number in range(RACERS)
    ]
    answers = send_simultaneously(live.port, wanted)
    assert count_statuses(answers) == {202: 1, 409: RACERS - 1}
    assert {answer["code"] for status, answer in answers if status == 409} == {"username_taken"}
    assert sum(len(live.mailbox(f"{name}.{number}@example.org")) for number in range(RACERS)) == 1


def test_sixteen_uses_of_one_link_open_one_account(live, name):
    _, _, token = start_registration(live, name)
    passwords = [f"chosen by racer number {number:02}" for number in range(RACERS)]
    answers = send_simultaneously(
        live.port,
        [
            build_raw_post("/v1/register/confirm", {"token": token, "password": text})
            for text in passwords
        ],
    )
    assert count_statuses(answers) == {200: 1, 400: RACERS - 1}
    winner = passwords[[status for status, _ in answers].index(200)]
    assert live.call("POST", "/v1/login", {"username": name, "password": winner})[0] == 200
    assert (
        live.call(
            "POST",
            "/v1/login",
            {"username": name, "password": next(text for text in passwords if text != winner)},
        )[0]
        == 401
    )


def test_sixteen_uses_of_one_code_open_one_account(live, name):
    handle, code, _ = start_registration(live, name)
    answers = send_simultaneously(
        live.port,
        [build_raw_post("/v1/register/confirm", {"registration": handle, "code": code})] * RACERS,
    )
    assert count_statuses(answers) == {200: 1, 400: RACERS - 1}


def test_link_and_code_at_once_open_one_account(live, name):
    handle, code, token = start_registration(live, name)
    by_link = build_raw_post("/v1/register/confirm", {"token": token, "password": PASSWORD})
    by_code = build_raw_post("/v1/register/confirm", {"registration": handle, "code": code})
    answers = send_simultaneously(live.port, [by_link, by_code] * (RACERS // 2))
    assert count_statuses(answers) == {200: 1, 400: RACERS - 1}


def test_sixteen_wrong_codes_at_once_are_five_attempts(live, name):
    handle, code, _ = start_registration(live, name)
    wrong = "BBBB-BBBB" if code != "BBBB-BBBB" else "CCCC-CCCC"
    answers = send_simultaneously(
        live.port,
        [build_raw_post("/v1/register/confirm", {"registration": handle, "code": wrong})] * RACERS,
    )
    assert count_statuses(answers) == {400: RACERS}
    assert (
        live.call("POST", "/v1/register/confirm", {"registration": handle, "code": code})[0] == 400
    )


def test_two_confirmations_of_one_email_open_one_account(service):
    actors = []
    for username in ("first", "second"):
        actors.append(service.actor(username, email="shared@example.org"))
        assert actors[-1].register().status_code == 202
        service.units.limiter.reset()  # a recipient gets one such email a minute
    codes = [mail["code"] for mail in reversed(service.mailbox("shared@example.org"))]
    gate = threading.Barrier(2)

    def confirm(actor, code: str) -> int:
        gate.wait()
        return actor.confirm(code=code).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(confirm, actors, codes)) == [200, 400]
    assert service.scalar("SELECT count(*) FROM accounts") == 1
