"""Refreshing the token of a session, in threads and processes."""

from __future__ import annotations

import base64
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from doorward import (
    Doorward,
    InstanceAuthSessions,
    InvalidCredentials,
    InvalidToken,
    NotLoggedInError,
    ServiceUnavailable,
    StoreError,
    UnexpectedAnswer,
)
from doorward import environment as client_environment
from tests.actors import PASSWORD
from tests.client.conftest import build_environment
from tests.client.fake_server import BAD_GATEWAY, HTML, TOKENS, Reply
from tests.client.store_entries import raise_disk_full

WHO = Reply({"account_id": "acc_1", "username": "ann", "kind": "session"})


def count_refreshes(live, session_id: str) -> int:
    """Return how often the service has refreshed the session."""
    with sqlite3.connect(live.database) as db:
        return db.execute("SELECT rt_counter FROM sessions WHERE id = ?", (session_id,)).fetchone()[
            0
        ]


def expire_soon(store) -> None:
    """Make the access tokens in the store expire in ten seconds."""
    kept = json.loads(store.read_text())
    for users in kept.values():
        for entry in users.values():
            entry["expires"] = (datetime.now(UTC) + timedelta(seconds=10)).isoformat()
    store.write_text(json.dumps(kept))


def test_token_is_refreshed_before_it_expires(ann, store):
    ann.log_in().session.to_store()
    expire_soon(store)
    client = Doorward()
    session = client.login.from_store()
    before = count_refreshes(ann.live, session.session_id)
    old = InstanceAuthSessions.load().find(ann.live.url).token.reveal()
    assert session.token != old
    assert client.token == session.token
    assert count_refreshes(ann.live, session.session_id) == before + 1
    assert InstanceAuthSessions.load().find(ann.live.url).token.reveal() == session.token
    assert (session.expires_at - datetime.now(UTC)) > timedelta(seconds=200)


def get_token_in_forty_threads(client) -> set[str]:
    """Return the tokens that forty threads received."""
    got, gate = [], threading.Barrier(40)

    def use():
        gate.wait()
        got.append(client.token)

    threads = [threading.Thread(target=use) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(got) == 40
    return set(got)


def test_forty_threads_refresh_once(ann, store):
    ann.log_in().session.to_store()
    expire_soon(store)
    client = Doorward()
    session = client.login.from_store()
    before = count_refreshes(ann.live, session.session_id)
    assert len(get_token_in_forty_threads(client)) == 1
    assert count_refreshes(ann.live, session.session_id) == before + 1


def test_forty_threads_refresh_once_without_a_store(fake_server, monkeypatch):
    server = fake_server(
        Reply(TOKENS), routes={"/v1/token/refresh": [Reply({**TOKENS, "access_token": "at2"})]}
    )
    client = Doorward(server.url)
    client.login.with_password("ann", PASSWORD)
    now = client_environment.get_now
    monkeypatch.setattr(client_environment, "get_now", lambda: now() + timedelta(seconds=270))
    assert get_token_in_forty_threads(client) == {"at2"}
    assert server.paths().count("/v1/token/refresh") == 1


USE_SCRIPT = """
import sys
from doorward import Doorward
client = Doorward()
session = client.login.from_store()
print("ready", flush=True)
sys.stdin.readline()
print(client.token, flush=True)
client.whoami()
"""


def test_ten_processes_refresh_once(ann, store):
    client = ann.log_in()
    client.session.to_store()
    expire_soon(store)
    before = count_refreshes(ann.live, client.session.session_id)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", USE_SCRIPT],
            env=build_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(10)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 10
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    tokens = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0] * 10
    assert len(tokens) == 1
    assert count_refreshes(ann.live, client.session.session_id) == before + 1


def test_sessions_of_one_token_file_refresh_once(fake_server, tmp_path):
    """Each client holds its own lock, as each process would."""
    server = fake_server(
        WHO,
        routes={
            "/v1/login": [Reply(TOKENS)],
            "/v1/token/refresh": [Reply({**TOKENS, "access_token": "at2"})],
        },
    )
    client = Doorward(server.url)
    client.login.with_password("ann", PASSWORD)
    client.session.to_token_file(tmp_path / "token")
    sessions = [
        client.session,
        *(Doorward().login.from_token_file(tmp_path / "token") for _ in range(5)),
    ]
    threads = [threading.Thread(target=session.refresh) for session in sessions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert {session.token for session in sessions} == {"at2"}
    assert server.paths().count("/v1/token/refresh") == 1


REFRESH_SCRIPT = """
from doorward import Doorward
client = Doorward()
client.login.from_store().refresh()
"""


def test_process_killed_during_refresh_releases_the_lock(fake_server, store):
    request_received, may_answer = threading.Event(), threading.Event()

    def block(_: str) -> Reply:
        request_received.set()
        may_answer.wait(20)
        return Reply(TOKENS)

    server = fake_server(
        WHO,
        routes={
            "/v1/login": [Reply(TOKENS)],
            "/v1/token/refresh": [block, Reply({**TOKENS, "access_token": "at2"})],
        },
    )
    client = Doorward(server.url)
    client.login.with_password("ann", PASSWORD)
    client.session.to_store()
    process = subprocess.Popen([sys.executable, "-c", REFRESH_SCRIPT], env=build_environment())
    assert request_received.wait(20)
    process.kill()
    process.wait(10)
    began = time.monotonic()
    client.session.refresh()
    assert time.monotonic() - began < 10
    may_answer.set()
    assert client.token == InstanceAuthSessions.load().find(server.url).token.reveal() == "at2"


def test_session_refreshed_by_another_process_continues(ann, store):
    first, second = ann.log_in(), Doorward()
    first.session.to_store()
    second.login.from_store()
    for one in (first, second, first, second):
        one.session.refresh()
    assert first.whoami().session_id == second.whoami().session_id
    assert first.logged_in
    second.logout()
    with pytest.raises(NotLoggedInError):
        first.session.refresh()


def test_newer_login_in_the_store_is_not_overwritten(ann, store):
    """A refresh of the older session does not replace it."""
    first, second = ann.log_in(), ann.log_in()
    first.session.to_store()
    second.session.to_store()
    first.elevate(PASSWORD)
    first.session.refresh()
    assert InstanceAuthSessions.load().find(ann.live.url).session_id == second.session.session_id
    assert first.whoami().session_id == first.session.session_id


def test_token_that_could_not_be_stored_is_kept_in_memory(ann, store, monkeypatch):
    client = ann.log_in()
    client.session.to_store()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", raise_disk_full)
        with pytest.raises(StoreError, match="No space left"):
            client.session.refresh()
    before = client.token
    client.session.refresh()
    assert count_refreshes(ann.live, client.session.session_id) == 2, (
        "the second refresh uses the newest refresh token"
    )
    assert InstanceAuthSessions.load().find(ann.live.url).token.reveal() == client.token != before


def test_tokens_from_elevate_are_kept_if_the_store_fails(fake_server, store):
    answers = {
        "/v1/login": [Reply(TOKENS)],
        "/v1/elevate": [Reply({**TOKENS, "access_token": "at2"})],
    }
    client = Doorward(fake_server(WHO, routes=answers).url)
    client.login.with_password("ann", PASSWORD)
    client.session.to_store()
    for lock in store.parent.glob("*.lock"):
        lock.unlink()
        lock.mkdir()
    with pytest.raises(StoreError, match="Cannot use"):
        client.elevate(PASSWORD)
    assert client.token == "at2"


def test_session_without_password_does_not_log_in_again(ann, store):
    client, other = ann.log_in(), ann.log_in()
    client.session.to_store()
    other.logout_all()
    for _ in range(2):
        with pytest.raises(NotLoggedInError, match=r"ended\. Log in again"):
            client.whoami()
    assert json.loads(store.read_text()) == {}


def test_kept_password_logs_in_again(ann):
    calls = []

    def password():
        calls.append(1)
        return PASSWORD

    keeps, asks = ann.log_in(keep=True), ann.client()
    asks.login.with_password(ann.name, password)
    ann.log_in().logout_all()
    before = keeps.session.session_id
    assert keeps.whoami().username == asks.whoami().username == ann.name
    assert keeps.session.session_id != before
    assert len(calls) == 2
    asks.logout()
    with pytest.raises(NotLoggedInError):
        _ = asks.token


def test_kept_password_that_became_wrong_is_tried_once(fake_server):
    routes = {
        "/v1/login": [Reply(TOKENS), Reply({"code": "invalid_credentials"}, 401)],
        "/v1/token/refresh": [Reply({"code": "invalid_grant"}, 400)],
    }
    server = fake_server(Reply({"code": "unauthenticated"}, 401), routes=routes)
    client = Doorward(server.url)
    client.login.with_password("ann", PASSWORD, keep=True)
    with pytest.raises(InvalidCredentials):
        client.session.refresh()
    with pytest.raises(NotLoggedInError):
        client.session.refresh()
    assert server.paths().count("/v1/login") == 2


def test_service_failure_does_not_end_the_session(fake_server):
    routes = {"/v1/login": [Reply({**TOKENS, "expires_in": 1})], "/v1/token/refresh": [BAD_GATEWAY]}
    server = fake_server(WHO, routes=routes)
    client = Doorward(server.url)
    client.login.with_password("ann", PASSWORD)
    time.sleep(1.1)
    with pytest.raises(ServiceUnavailable):
        _ = client.token
    server.routes["/v1/token/refresh"] = [Reply({**TOKENS, "access_token": "at2"})]
    assert client.token == "at2"


@pytest.mark.parametrize("fault", [BAD_GATEWAY, HTML])
def test_failed_early_refresh_keeps_the_current_token(fake_server, monkeypatch, fault):
    server = fake_server(fault, routes={"/v1/login": [Reply(TOKENS)]})
    client = Doorward(server.url, revalidate_after=timedelta(0))
    client.login.with_password("ann", PASSWORD)
    assert client.token == "at", "the validation got no valid response"
    assert "/v1/whoami" in server.paths()
    client.session.revalidate_after = None
    now = client_environment.get_now
    monkeypatch.setattr(client_environment, "get_now", lambda: now() + timedelta(seconds=270))
    assert client.token == "at", "the current token is still valid"
    tries = server.paths().count("/v1/token/refresh")
    assert client.token == "at"
    assert server.paths().count("/v1/token/refresh") == tries > 0, (
        "no second refresh follows at once"
    )
    with pytest.raises((ServiceUnavailable, UnexpectedAnswer)):
        client.session.refresh()
    monkeypatch.setattr(client_environment, "get_now", lambda: now() + timedelta(seconds=300))
    with pytest.raises((ServiceUnavailable, UnexpectedAnswer)):
        _ = client.token
    assert client.logged_in


def test_post_with_rejected_token_is_not_repeated(fake_server):
    refused = Reply({"code": "unauthenticated"}, 401)
    routes = {
        "/v1/login": [Reply(TOKENS)],
        "/v1/token/refresh": [Reply({**TOKENS, "access_token": "at2"})],
        "/v1/things": [refused, Reply({})],
    }
    server = fake_server(WHO, routes=routes)
    client = Doorward(server.url)
    client.login.with_password("ann", PASSWORD)
    with pytest.raises(InvalidToken, match="Try again") as error:
        client.call("POST", "/v1/things", json={})
    assert (error.value.code, server.paths().count("/v1/things")) == ("unauthenticated", 1)
    client.call("POST", "/v1/things", json={})
    assert server.list_headers("Authorization") == ["Bearer at", "Bearer at2"]


def test_refresh_is_retried_after_a_lost_response(fake_server):
    from tests.client.fake_server import HANG_UP

    routes = {
        "/v1/login": [Reply(TOKENS)],
        "/v1/token/refresh": [HANG_UP, Reply({**TOKENS, "access_token": "at2"})],
    }
    server = fake_server(WHO, routes=routes)
    client = Doorward(server.url)
    client.login.with_password("ann", PASSWORD)
    client.session.refresh()
    assert client.token == "at2"


def test_idle_token_is_validated(fake_server):
    server = fake_server(WHO, routes={"/v1/login": [Reply(TOKENS)]})
    client = Doorward(server.url, revalidate_after=timedelta(seconds=1.5))
    client.login.with_password("ann", PASSWORD)
    _ = client.token, client.token
    assert "/v1/whoami" not in server.paths()
    time.sleep(1.6)
    _ = client.token, client.token
    assert server.paths().count("/v1/whoami") == 1


def test_expiry_is_detected_after_sleep(fake_server, monkeypatch):
    """The monotonic clock of Linux stops during sleep; the wall clock does not."""
    server = fake_server(
        WHO,
        routes={
            "/v1/login": [Reply({**TOKENS, "expires_in": 7200})],
            "/v1/token/refresh": [Reply({**TOKENS, "access_token": "at2"})],
        },
    )
    client = Doorward(server.url)
    client.login.with_password("ann", PASSWORD)
    now = client_environment.get_now
    monkeypatch.setattr(client_environment, "get_now", lambda: now() + timedelta(hours=1))
    assert client.token == "at"
    assert server.paths() == ["/v1/login", "/v1/whoami"]
    monkeypatch.setattr(client_environment, "get_now", lambda: now() + timedelta(hours=2))
    assert client.token == "at2"


def test_expiry_is_detected_when_the_clock_is_set_back(fake_server, monkeypatch):
    server = fake_server(
        WHO,
        routes={
            "/v1/login": [Reply({**TOKENS, "expires_in": 1})],
            "/v1/token/refresh": [Reply({**TOKENS, "access_token": "at2"})],
        },
    )
    client = Doorward(server.url)
    client.login.with_password("ann", PASSWORD)
    now = client_environment.get_now
    monkeypatch.setattr(client_environment, "get_now", lambda: now() - timedelta(hours=1))
    time.sleep(0.85)
    assert client.token == "at2"


def test_timedeltas_of_days_are_converted_to_seconds(fake_server):
    """The attribute `seconds` of a timedelta of one day is 0."""
    server = fake_server(WHO, routes={"/v1/login": [Reply({**TOKENS, "expires_in": 2 * 86400})]})
    client = Doorward(server.url, revalidate_after=timedelta(days=1))
    session = client.login.with_password("ann", PASSWORD, expires_in=timedelta(days=30))
    assert json.loads(server.seen[0][3])["expires_in"] == 30 * 86400
    assert client.token == "at"
    assert (session.expires_at - datetime.now(UTC)).total_seconds() > 2 * 86400 - 60
    assert server.paths() == ["/v1/login"]


def test_bare_token_is_not_refreshed(ann, monkeypatch):
    monkeypatch.setenv("DOORWARD_TOKEN", ann.log_in().token)
    client = ann.client()
    client.login.with_token()
    assert client.session.expires_at > datetime.now(UTC)
    assert client.whoami().username == ann.name
    client.logout()
    past = base64.urlsafe_b64encode(b'{"iat": 1, "exp": 2}').decode().rstrip("=")
    monkeypatch.setenv("DOORWARD_TOKEN", f"eyJ.{past}.x")
    client.login.with_token()
    with pytest.raises(InvalidToken):
        client.validate()
    with pytest.raises(InvalidToken):
        client.whoami()


def test_forked_process_opens_its_own_connections(fake_server):
    server = fake_server(WHO, routes={"/v1/login": [Reply(TOKENS)]})
    client = Doorward(server.url)
    client.login.with_password("ann", PASSWORD)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if client.whoami().username == "ann" else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert client.whoami().username == "ann"
    mine, childs, mine_again = server.ports
    assert mine == mine_again != childs


def test_forked_process_does_not_inherit_held_locks(fake_server):
    request_received, may_answer = threading.Event(), threading.Event()

    def answer_slowly(_: str) -> Reply:
        request_received.set()
        may_answer.wait(20)
        return Reply({**TOKENS, "access_token": "at2"})

    client = Doorward(
        fake_server(
            Reply({**TOKENS, "expires_in": 1}),
            routes={"/v1/token/refresh": [answer_slowly, Reply(TOKENS)]},
        ).url
    )
    client.login.with_password("ann", "secret")
    time.sleep(1)
    other = threading.Thread(target=client.session.refresh)
    other.start()
    assert request_received.wait(20)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if client.token == "at" else 1)
    ended = next(
        (
            found
            for _ in range(200)
            if (found := os.waitpid(pid, os.WNOHANG))[0] or time.sleep(0.05)
        ),
        None,
    )
    if ended is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    may_answer.set()
    other.join(20)
    assert ended == (pid, 0)
