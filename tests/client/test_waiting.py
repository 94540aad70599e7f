"""Polling for the decision on a device login (RFC 8628 section 3.5)."""

from __future__ import annotations

import time

import pytest

from doorward import Doorward, LoginDenied, LoginExpired, LoginTimeout, RedirectRefused
from tests.client.fake_server import BAD_GATEWAY, HANG_UP, HTML, TOKENS, Reply, build_oauth_error

ASKED = {
    "device_code": "dwl_secret",
    "user_code": "BCDF-GHJK",
    "verification_uri": "https://auth.example.com/login/activate",
    "verification_uri_complete": "https://auth.example.com/login/activate/BCDF-GHJK",
    "expires_in": 600,
    "interval": 0.2,
    "session_id": "ses_1",
    "login_message": None,
    "check_phrase": "one two three",
}
PENDING = build_oauth_error("authorization_pending")
WHO = Reply(
    {
        "account_id": "acc_1",
        "username": "ann",
        "kind": "session",
        "scopes": [],
        "roles": [],
        "expires_at": None,
    }
)


def start_device_server(fake_server, *polls, **changes):
    routes = {
        "/v1/login-sessions": [Reply({**ASKED, **changes}, 201)],
        "/v1/login-sessions/cancel": [Reply(b"", 204)],
        "/oauth/token": list(polls),
        "/v1/whoami": [WHO],
    }
    return fake_server(Reply({"code": "no_such_address"}, 404), routes=routes)


def log_in(server, **options):
    client = Doorward(server.url)
    return client.login.on_another_device(on_prompt=lambda _: None, **options)


def test_polling_survives_temporary_failures(fake_server):
    busy = build_oauth_error("slow_down", headers={"Retry-After": "1"})
    busy.status = 429
    server = start_device_server(
        fake_server, PENDING, HTML, BAD_GATEWAY, HANG_UP, busy, PENDING, Reply(TOKENS)
    )
    assert log_in(server, timeout=40).username == "ann"
    assert server.paths().count("/oauth/token") == 7
    assert "/v1/login-sessions/cancel" not in server.paths()


def test_slow_down_adds_five_seconds(fake_server):
    server = start_device_server(fake_server, build_oauth_error("slow_down"), Reply(TOKENS))
    began = time.monotonic()
    log_in(server, timeout=30)
    assert 5.4 <= time.monotonic() - began < 25


def test_polling_obeys_retry_after(fake_server):
    server = start_device_server(fake_server, Reply(b"", 503, {"Retry-After": "1"}), Reply(TOKENS))
    began = time.monotonic()
    log_in(server, timeout=30)
    assert 1.2 <= time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("access_denied", LoginDenied),
        ("expired_token", LoginExpired),
        ("invalid_grant", LoginExpired),
    ],
)
def test_polling_ends_with_the_decision(fake_server, code, error):
    server = start_device_server(fake_server, build_oauth_error(code))
    with pytest.raises(error):
        log_in(server)


def test_polling_times_out_with_the_last_error(fake_server):
    server = start_device_server(fake_server, BAD_GATEWAY)
    began = time.monotonic()
    with pytest.raises(LoginTimeout, match=r"within 1 s.+not available \(502\)"):
        log_in(server, timeout=0.9)
    assert time.monotonic() - began < 20
    assert server.paths()[-1] == "/v1/login-sessions/cancel"


def test_polling_ends_when_the_code_expires(fake_server):
    server = start_device_server(fake_server, PENDING, expires_in=-5)
    began = time.monotonic()
    with pytest.raises(LoginTimeout):
        log_in(server)
    assert time.monotonic() - began < 20


def test_device_code_does_not_follow_redirects(fake_server):
    other_server = fake_server(Reply(TOKENS))
    server = start_device_server(
        fake_server, Reply(b"", 307, {"Location": f"{other_server.url}/oauth/token"})
    )
    with pytest.raises(RedirectRefused, match=other_server.url):
        log_in(server)
    assert other_server.seen == []


def test_prompt_has_no_control_characters(fake_server):
    server = start_device_server(
        fake_server, PENDING, login_message="ring\x1b]0;title\x07", check_phrase="one\ntwo"
    )
    prompt = Doorward(server.url).login.request_on_another_device(client_name="x")
    assert "\x1b" not in f"{prompt.login_message}{prompt}"
    assert prompt.check_phrase == "one two"
