"""Checks on the event loop follow what changes elsewhere."""

from __future__ import annotations

import sqlite3
import time

import pytest
import redis

from tests.actors import PASSWORD

SOON = 10.0  # seconds, on a busy machine; cache entries live for a minute


@pytest.fixture
def live(make_live, sqlite_url, redis_url):
    return make_live(database_url=sqlite_url, DOORWARD_REDIS_URL=redis_url)


def log_in(live) -> dict[str, str]:
    """Register an account and return the header of its access token, which is warm afterwards."""
    email = "ann@example.org"
    body = {"username": "ann", "email": email, "name": "Ann", "password": PASSWORD}
    handle = live.call("POST", "/v1/register", body)[1]["registration"]
    confirmation = {"registration": handle, "code": live.mailbox(email)[0]["code"]}
    assert live.call("POST", "/v1/register/confirm", confirmation)[0] == 200
    _, tokens = live.call("POST", "/v1/login", {"username": "ann", "password": PASSWORD})
    header = {"Authorization": f"Bearer {tokens['access_token']}"}
    end = time.monotonic() + 3  # until the cache is trusted
    while time.monotonic() < end:
        assert live.call("GET", "/v1/whoami", headers=header)[0] == 200
        time.sleep(0.1)
    return header


def wait_for(live, header: dict[str, str], status: int) -> None:
    end = time.monotonic() + SOON
    while live.call("GET", "/v1/whoami", headers=header)[0] != status:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_new_global_epoch_ends_warm_sessions(live, sqlite_url):
    """The entries in Redis do not change, so only the epoch tells that the session has ended."""
    header = log_in(live)
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), timeout=10) as database:
        database.execute("UPDATE issuer_state SET global_epoch = global_epoch + 1")
    wait_for(live, header, 401)


def test_logout_ends_a_warm_session_at_once(live):
    header = log_in(live)
    assert live.call("POST", "/v1/logout", headers=header)[0] == 204
    assert live.call("GET", "/v1/whoami", headers=header)[0] == 401
    assert live.call("GET", "/authz/forward-auth", headers=header)[0] == 401


def test_checks_continue_when_redis_is_emptied(live, redis_url):
    header = log_in(live)
    redis.Redis.from_url(redis_url).flushdb()
    assert live.call("GET", "/v1/whoami", headers=header)[0] == 200
    wait_for(live, header, 200)
