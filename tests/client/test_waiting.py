"""Waiting for a decision, when what answers is not always the service in good health (RFC 8628 section 3.5)."""

from __future__ import annotations

import time

import pytest

from doorward import Doorward, LoginDenied, LoginExpired, LoginTimeout, RedirectRefused
from tests.client.stand_in import BAD_GATEWAY, HANGS_UP, HTML, TOKENS, Says, oauth_error

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
PENDING = oauth_error("authorization_pending")
WHO = Says(
    {
        "account_id": "acc_1",
        "username": "ann",
        "kind": "session",
        "scopes": [],
        "roles": [],
        "expires_at": None,
    }
)


def waiting_at(stand_in, *polls, **asked):
    routes = {
        "/v1/login-sessions": [Says({**ASKED, **asked}, 201)],
        "/v1/login-sessions/cancel": [Says(b"", 204)],
        "/oauth/token": list(polls),
        "/v1/whoami": [WHO],
    }
    return stand_in(Says({"code": "no_such_address"}, 404), routes=routes)


def log_in(there, **options):
    client = Doorward(there.url)
    return client.login.on_another_device(on_prompt=lambda _: None, **options)


def test_waiting_survives_what_networks_do(stand_in):
    busy = oauth_error("slow_down", headers={"Retry-After": "1"})
    busy.status = 429
    there = waiting_at(stand_in, PENDING, HTML, BAD_GATEWAY, HANGS_UP, busy, PENDING, Says(TOKENS))
    assert log_in(there, timeout=40).username == "ann"
    assert there.paths().count("/oauth/token") == 7
    assert "/v1/login-sessions/cancel" not in there.paths()


def test_slow_down_adds_five_seconds(stand_in):
    there = waiting_at(stand_in, oauth_error("slow_down"), Says(TOKENS))
    began = time.monotonic()
    log_in(there, timeout=30)
    assert 5.4 <= time.monotonic() - began < 25


def test_nothing_is_asked_before_retry_after(stand_in):
    there = waiting_at(stand_in, Says(b"", 503, {"Retry-After": "1"}), Says(TOKENS))
    began = time.monotonic()
    log_in(there, timeout=30)
    assert 1.2 <= time.monotonic() - began < 20


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("access_denied", LoginDenied),
        ("expired_token", LoginExpired),
        ("invalid_grant", LoginExpired),
    ],
)
def test_waiting_ends_with_the_decision(stand_in, code, error):
    there = waiting_at(stand_in, oauth_error(code))
    with pytest.raises(error):
        log_in(there)


def test_waiting_ends_in_time_and_says_what_was_wrong(stand_in):
    there = waiting_at(stand_in, BAD_GATEWAY)
    began = time.monotonic()
    with pytest.raises(LoginTimeout, match=r"within 1 s.+cannot answer now \(502\)"):
        log_in(there, timeout=0.9)
    assert time.monotonic() - began < 20
    assert there.paths()[-1] == "/v1/login-sessions/cancel"


def test_nobody_waits_longer_than_the_code_lasts(stand_in):
    there = waiting_at(stand_in, PENDING, expires_in=-5)
    began = time.monotonic()
    with pytest.raises(LoginTimeout):
        log_in(there)
    assert time.monotonic() - began < 20


def test_the_code_of_the_login_goes_nowhere_else(stand_in):
    elsewhere = stand_in(Says(TOKENS))
    there = waiting_at(stand_in, Says(b"", 307, {"Location": f"{elsewhere.url}/oauth/token"}))
    with pytest.raises(RedirectRefused, match=elsewhere.url):
        log_in(there)
    assert elsewhere.seen == []


def test_a_prompt_shows_no_terminal_orders(stand_in):
    there = waiting_at(
        stand_in, PENDING, login_message="ring\x1b]0;title\x07", check_phrase="one\ntwo"
    )
    prompt = Doorward(there.url).login.request_on_another_device(client_name="x")
    assert "\x1b" not in f"{prompt.login_message}{prompt}"
    assert prompt.check_phrase == "one two"
