"""Responses of each gateway to refused requests."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.gateways.conftest import LIMIT_KEY
from tests.gateways.gateways import DOORWARD
from tests.gateways.test_identity import bearer

KEPT = 8  # connections to Doorward that a gateway may have kept
WITHOUT_DOCUMENTS = {"traefik"}  # it has no answers of its own but a line of text


def problem(town, answer) -> dict:
    if town.gateway.name in WITHOUT_DOCUMENTS:
        return {"status": answer.status}
    assert answer.one("Content-Type") == "application/problem+json"
    assert "no-store" in answer.one("Cache-Control")
    return json.loads(answer.body)


def test_401_has_a_reason_and_a_challenge(town):
    answer = town.call("GET", "/")
    assert answer.one("Content-Type") == "application/problem+json"
    document = json.loads(answer.body)
    assert (document["status"], document["code"], document["type"]) == (
        401,
        "unauthenticated",
        "urn:doorward:problem:unauthenticated",
    )
    assert "no-store" in answer.one("Cache-Control")
    assert answer.one("Retry-After") is None


def test_refusal_reveals_nothing_about_the_upstream(town):
    for path, headers in (("/", []), ("/admin/", bearer(town.ann.sign_in()))):
        answer = town.call("GET", path, headers)
        assert answer.status in {401, 403}
        assert answer.one("Strict-Transport-Security") is None
        assert answer.one("Server") in {None, town.gateway.name, town.gateway.name.title()}
    assert town.call("GET", "/v1/methods", host=DOORWARD).one("Strict-Transport-Security")


def test_403_has_a_reason_and_names_the_missing_scope(town):
    answer = town.call("GET", "/admin/", bearer(town.ann.sign_in()))
    assert answer.status == 403
    assert 'scope="stock:write"' in answer.one("WWW-Authenticate")
    assert answer.one("Content-Type") == "application/problem+json"
    assert json.loads(answer.body)["code"] == "insufficient_scope"


def test_rate_limited_key_gets_retry_after(town):
    key = [("X-API-Key", town.ann.make_key()["key"])]
    statuses = [town.call("GET", "/", key).status for _ in range(LIMIT_KEY)]
    assert statuses == [200] * LIMIT_KEY
    answer = town.call("GET", "/", key)
    assert answer.status == 429
    assert 0 < int(answer.one("Retry-After")) <= 60
    assert answer.one("RateLimit")
    assert answer.one("RateLimit-Policy")
    assert answer.one("Content-Type") == "application/problem+json"
    assert json.loads(answer.body)["code"] == "rate_limited"
    assert len(town.received) == LIMIT_KEY


@pytest.mark.parametrize(
    "status", [301, 302, 307, 400, 404, 408, 411, 414, 431, 500, 501, 502, 504]
)
def test_unexpected_check_answer_never_passes(town, status):
    """Doorward never sends these statuses, but another server at its port could."""
    head = f"HTTP/1.1 {status} Strange\r\nLocation: http://{DOORWARD}/\r\nX-Auth-Subject: acc_mallory\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with instead(town, head.encode()):
        answer = town.call("GET", "/", bearer(town.ann.sign_in()))
    assert answer.status == 503 or (answer.status == status and town.gateway.name != "nginx")
    assert not town.received


@pytest.mark.parametrize(
    "bytes_",
    [b"", b"HTTP/1.1 200", b"junk\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"],
    ids=["nothing", "half", "junk", "short"],
)
def test_broken_check_answer_never_passes(town, bytes_):
    with instead(town, bytes_):
        answer = town.call("GET", "/", bearer(town.ann.sign_in()))
    if bytes_.startswith(b"HTTP/1.1 200 OK"):
        # The status is 200, but the body is truncated. Only Traefik reads the body of a 200.
        assert answer.status in {200, 500, 503}
    else:
        assert (answer.status, answer.one("Retry-After")) == (503, "5")
    assert bool(town.received) == (answer.status == 200)


def test_unknown_policy_is_a_fault_and_not_a_refusal(town):
    head = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 60\r\nX-Auth-Error: unknown_policy\r\nContent-Type: application/problem+json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    with instead(town, head):
        answer = town.call("GET", "/", bearer(town.ann.sign_in()))
    assert (answer.status, answer.one("Retry-After")) == (
        503,
        "5" if town.gateway.name == "envoy" else "60",
    )
    assert not town.received


@pytest.mark.parametrize("status", [401, 403, 429, 500, 502, 503, 504])
def test_upstream_responses_pass_unchanged(town, status):
    answer = town.call("GET", "/", [*bearer(town.ann.sign_in()), ("Wanted-Status", str(status))])
    assert (answer.status, answer.body, answer.one("Application")) == (
        status,
        b"from the application",
        "yes",
    )
    assert answer.one("Retry-After") is None


# -- Doorward is down --------------------------------------------------------------------------------------------------------


def settled(town, ask):
    """Repeat the request until no connection to the stopped Doorward is left, as Traefik answers 500 on those."""
    answer = ask()
    for _ in range(KEPT if town.gateway.name == "traefik" else 0):
        if answer.status != 500:
            break
        answer = ask()
    return answer


def test_nothing_passes_while_doorward_is_down(all_of_them):
    live, token = all_of_them[0].live, all_of_them[0].ann.sign_in()
    live.stop()
    try:
        for town in all_of_them:
            for headers in (bearer(token), []):
                answer = settled(
                    town, lambda town=town, headers=headers: town.call("GET", "/", headers)
                )
                assert (answer.status, answer.one("Retry-After")) == (503, "5"), (
                    town.gateway.log.read_text()[-2000:]
                )
                assert problem(town, answer)["status"] == 503
            own = settled(town, lambda town=town: town.call("GET", "/v1/methods", host=DOORWARD))
            assert (own.status, own.one("Retry-After")) == (503, "5"), town.gateway.name
            assert not town.received
    finally:
        live.start()
        live.await_ready()
    for town in all_of_them:
        assert town.call("GET", "/", bearer(token)).status == 200, town.gateway.name


def test_silent_doorward_times_out(all_of_them):
    live, token = all_of_them[0].live, all_of_them[0].ann.sign_in()

    def ask(town):
        began = time.monotonic()
        return town.call("GET", "/", bearer(token)), time.monotonic() - began

    os.killpg(live.process.pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(len(all_of_them)) as pool:
            answers = list(pool.map(ask, all_of_them))
    finally:
        os.killpg(live.process.pid, signal.SIGCONT)
    for town, (answer, seconds) in zip(all_of_them, answers, strict=True):
        assert (answer.status, answer.one("Retry-After")) == (503, "5"), town.gateway.name
        assert 4 < seconds < 8, town.gateway.name
        assert not town.received
        assert town.call("GET", "/", bearer(token)).status == 200, town.gateway.name


def test_silent_upstream_is_its_own_fault(town):
    answer = town.call("GET", "/", [*bearer(town.ann.sign_in()), ("Wanted-Status", "0")])
    assert answer.status == (503 if town.gateway.name == "envoy" else 502)
    assert b"could not be checked" not in answer.body


@contextmanager
def instead(town, answer: bytes):
    """Replace Doorward's responses by this one."""
    town.wire.instead = answer
    try:
        yield
    finally:
        town.wire.instead = None
