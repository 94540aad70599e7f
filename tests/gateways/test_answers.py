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
from tests.gateways.headers import build_bearer

KEPT = 8  # connections to Doorward that a gateway may keep open
WITHOUT_DOCUMENTS = {"traefik"}  # it has no answers of its own but a line of text


def read_problem(site, answer) -> dict:
    if site.gateway.name in WITHOUT_DOCUMENTS:
        return {"status": answer.status}
    assert answer.get_header("Content-Type") == "application/problem+json"
    assert "no-store" in answer.get_header("Cache-Control")
    return json.loads(answer.body)


def test_401_has_a_reason_and_a_challenge(site):
    answer = site.call("GET", "/")
    assert answer.get_header("Content-Type") == "application/problem+json"
    document = json.loads(answer.body)
    assert (document["status"], document["code"], document["type"]) == (
        401,
        "unauthenticated",
        "urn:doorward:problem:unauthenticated",
    )
    assert "no-store" in answer.get_header("Cache-Control")
    assert answer.get_header("Retry-After") is None


def test_refusal_reveals_nothing_about_the_upstream(site):
    for path, headers in (("/", []), ("/admin/", build_bearer(site.ann.sign_in()))):
        answer = site.call("GET", path, headers)
        assert answer.status in {401, 403}
        assert answer.get_header("Strict-Transport-Security") is None
        assert answer.get_header("Server") in {None, site.gateway.name, site.gateway.name.title()}
    assert site.call("GET", "/v1/methods", host=DOORWARD).get_header("Strict-Transport-Security")


def test_403_has_a_reason_and_names_the_missing_scope(site):
    answer = site.call("GET", "/admin/", build_bearer(site.ann.sign_in()))
    assert answer.status == 403
    assert 'scope="stock:write"' in answer.get_header("WWW-Authenticate")
    assert answer.get_header("Content-Type") == "application/problem+json"
    assert json.loads(answer.body)["code"] == "insufficient_scope"


def test_rate_limited_key_gets_retry_after(site):
    key = [("X-API-Key", site.ann.make_key()["key"])]
    statuses = [site.call("GET", "/", key).status for _ in range(LIMIT_KEY)]
    assert statuses == [200] * LIMIT_KEY
    answer = site.call("GET", "/", key)
    assert answer.status == 429
    assert 0 < int(answer.get_header("Retry-After")) <= 60
    assert answer.get_header("RateLimit")
    assert answer.get_header("RateLimit-Policy")
    assert answer.get_header("Content-Type") == "application/problem+json"
    assert json.loads(answer.body)["code"] == "rate_limited"
    assert len(site.received) == LIMIT_KEY


@pytest.mark.parametrize(
    "status", [301, 302, 307, 400, 404, 408, 411, 414, 431, 500, 501, 502, 504]
)
def test_unexpected_check_answer_never_passes(site, status):
    """Doorward never sends these statuses, but another server at its port could."""
    head = f"HTTP/1.1 {status} Strange\r\nLocation: http://{DOORWARD}/\r\nX-Auth-Subject: acc_mallory\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with replace_answers(site, head.encode()):
        answer = site.call("GET", "/", build_bearer(site.ann.sign_in()))
    assert answer.status == 503 or (answer.status == status and site.gateway.name != "nginx")
    assert not site.received


@pytest.mark.parametrize(
    "bytes_",
    [b"", b"HTTP/1.1 200", b"junk\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"],
    ids=["nothing", "half", "junk", "short"],
)
def test_broken_check_answer_never_passes(site, bytes_):
    with replace_answers(site, bytes_):
        answer = site.call("GET", "/", build_bearer(site.ann.sign_in()))
    if bytes_.startswith(b"HTTP/1.1 200 OK"):
        # The status is 200, but the body is truncated. Only Traefik reads the body of a 200.
        assert answer.status in {200, 500, 503}
    else:
        assert (answer.status, answer.get_header("Retry-After")) == (503, "5")
    assert bool(site.received) == (answer.status == 200)


def test_unknown_policy_is_a_fault_and_not_a_refusal(site):
    head = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 60\r\nX-Auth-Error: unknown_policy\r\nContent-Type: application/problem+json\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    with replace_answers(site, head):
        answer = site.call("GET", "/", build_bearer(site.ann.sign_in()))
    assert (answer.status, answer.get_header("Retry-After")) == (
        503,
        "5" if site.gateway.name == "envoy" else "60",
    )
    assert not site.received


@pytest.mark.parametrize("status", [401, 403, 429, 500, 502, 503, 504])
def test_upstream_responses_pass_unchanged(site, status):
    answer = site.call(
        "GET", "/", [*build_bearer(site.ann.sign_in()), ("Wanted-Status", str(status))]
    )
    assert (answer.status, answer.body, answer.get_header("Application")) == (
        status,
        b"from the application",
        "yes",
    )
    assert answer.get_header("Retry-After") is None


# Doorward is down.


def retry_stale_connections(site, send):
    """Repeat the request until no connection to the stopped Doorward is left, as Traefik answers 500 on those."""
    answer = send()
    for _ in range(KEPT if site.gateway.name == "traefik" else 0):
        if answer.status != 500:
            break
        answer = send()
    return answer


def test_nothing_passes_while_doorward_is_down(all_sites):
    live, token = all_sites[0].live, all_sites[0].ann.sign_in()
    live.stop()
    try:
        for site in all_sites:
            for headers in (build_bearer(token), []):
                answer = retry_stale_connections(
                    site, lambda site=site, headers=headers: site.call("GET", "/", headers)
                )
                assert (answer.status, answer.get_header("Retry-After")) == (503, "5"), (
                    site.gateway.log.read_text()[-2000:]
                )
                assert read_problem(site, answer)["status"] == 503
            own = retry_stale_connections(
                site, lambda site=site: site.call("GET", "/v1/methods", host=DOORWARD)
            )
            assert (own.status, own.get_header("Retry-After")) == (503, "5"), site.gateway.name
            assert not site.received
    finally:
        live.start()
        live.await_ready()
    for site in all_sites:
        assert site.call("GET", "/", build_bearer(token)).status == 200, site.gateway.name


def test_silent_doorward_times_out(all_sites):
    live, token = all_sites[0].live, all_sites[0].ann.sign_in()

    def send(site):
        began = time.monotonic()
        return site.call("GET", "/", build_bearer(token)), time.monotonic() - began

    os.killpg(live.process.pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(len(all_sites)) as pool:
            answers = list(pool.map(send, all_sites))
    finally:
        os.killpg(live.process.pid, signal.SIGCONT)
    for site, (answer, seconds) in zip(all_sites, answers, strict=True):
        assert (answer.status, answer.get_header("Retry-After")) == (503, "5"), site.gateway.name
        assert 4 < seconds < 8, site.gateway.name
        assert not site.received
        assert site.call("GET", "/", build_bearer(token)).status == 200, site.gateway.name


def test_silent_upstream_is_its_own_fault(site):
    answer = site.call("GET", "/", [*build_bearer(site.ann.sign_in()), ("Wanted-Status", "0")])
    assert answer.status == (503 if site.gateway.name == "envoy" else 502)
    assert b"could not be checked" not in answer.body


@contextmanager
def replace_answers(site, answer: bytes):
    """Replace Doorward's responses by this one."""
    site.wire.replacement = answer
    try:
        yield
    finally:
        site.wire.replacement = None
