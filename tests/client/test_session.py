"""A token that is live whenever it is asked for, however many ask."""

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
    here,
)
from tests.actors import PASSWORD
from tests.client.conftest import environment
from tests.client.stand_in import BAD_GATEWAY, HTML, TOKENS, Says
from tests.client.test_store import full_disk

WHO = Says({"account_id": "acc_1", "username": "ann", "kind": "session"})


def refreshes(live, session_id: str) -> int:
    """How often the service has refreshed it."""
    with sqlite3.connect(live.database) as db:
        return db.execute("SELECT rt_counter FROM sessions WHERE id = ?", (session_id,)).fetchone()[
            0
        ]


def nearly_over(store) -> None:
    """As it is ten seconds before the access token ends."""
    kept = json.loads(store.read_text())
    for users in kept.values():
        for entry in users.values():
            entry["expires"] = (datetime.now(UTC) + timedelta(seconds=10)).isoformat()
    store.write_text(json.dumps(kept))


def test_the_token_is_refreshed_ahead_of_its_end(ann, store):
    ann.logged_in().session.to_store()
    nearly_over(store)
    client = Doorward()
    session = client.login.from_store()
    before = refreshes(ann.live, session.session_id)
    old = InstanceAuthSessions.load().find(ann.live.url).token.reveal()
    assert session.token != old
    assert client.token == session.token
    assert refreshes(ann.live, session.session_id) == before + 1
    assert InstanceAuthSessions.load().find(ann.live.url).token.reveal() == session.token
    assert (session.expires_at - datetime.now(UTC)) > timedelta(seconds=200)


def used_by_forty_threads(client) -> set[str]:
    """What they got."""
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
    ann.logged_in().session.to_store()
    nearly_over(store)
    client = Doorward()
    session = client.login.from_store()
    before = refreshes(ann.live, session.session_id)
    assert len(used_by_forty_threads(client)) == 1
    assert refreshes(ann.live, session.session_id) == before + 1


def test_forty_threads_refresh_once_also_where_nothing_is_kept(stand_in, monkeypatch):
    there = stand_in(
        Says(TOKENS), routes={"/v1/token/refresh": [Says({**TOKENS, "access_token": "at2"})]}
    )
    client = Doorward(there.url)
    client.login.with_password("ann", PASSWORD)
    now = environment.get_now
    monkeypatch.setattr(here, "now", lambda: now() + timedelta(seconds=270))
    assert used_by_forty_threads(client) == {"at2"}
    assert there.paths().count("/v1/token/refresh") == 1


USES = """
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
    client = ann.logged_in()
    client.session.to_store()
    nearly_over(store)
    before = refreshes(ann.live, client.session.session_id)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", USES],
            env=environment(),
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
    assert refreshes(ann.live, client.session.session_id) == before + 1


def test_who_shares_a_token_file_refreshes_once(stand_in, tmp_path):
    """Each client locks for itself, as each process would."""
    there = stand_in(
        WHO,
        routes={
            "/v1/login": [Says(TOKENS)],
            "/v1/token/refresh": [Says({**TOKENS, "access_token": "at2"})],
        },
    )
    client = Doorward(there.url)
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
    assert there.paths().count("/v1/token/refresh") == 1


REFRESHES = """
from doorward import Doorward
client = Doorward()
client.login.from_store().refresh()
"""


def test_who_is_killed_while_it_refreshes_holds_up_nobody(stand_in, store):
    asked, go_on = threading.Event(), threading.Event()

    def never(_: str) -> Says:
        asked.set()
        go_on.wait(20)
        return Says(TOKENS)

    there = stand_in(
        WHO,
        routes={
            "/v1/login": [Says(TOKENS)],
            "/v1/token/refresh": [never, Says({**TOKENS, "access_token": "at2"})],
        },
    )
    client = Doorward(there.url)
    client.login.with_password("ann", PASSWORD)
    client.session.to_store()
    process = subprocess.Popen([sys.executable, "-c", REFRESHES], env=environment())
    assert asked.wait(20)
    process.kill()
    process.wait(10)
    began = time.monotonic()
    client.session.refresh()
    assert time.monotonic() - began < 10
    go_on.set()
    assert client.token == InstanceAuthSessions.load().find(there.url).token.reveal() == "at2"


def test_processes_that_were_refreshed_by_another_go_on(ann, store):
    first, second = ann.logged_in(), Doorward()
    first.session.to_store()
    second.login.from_store()
    for one in (first, second, first, second):
        one.session.refresh()
    assert first.whoami().session_id == second.whoami().session_id
    assert first.logged_in
    second.logout()
    with pytest.raises(NotLoggedInError):
        first.session.refresh()


def test_a_later_login_in_the_store_is_not_written_over(ann, store):
    """Not by the next token of an earlier one, whatever it came with."""
    first, second = ann.logged_in(), ann.logged_in()
    first.session.to_store()
    second.session.to_store()
    first.elevate(PASSWORD)
    first.session.refresh()
    assert InstanceAuthSessions.load().find(ann.live.url).session_id == second.session.session_id
    assert first.whoami().session_id == first.session.session_id


def test_a_token_that_could_not_be_written_down_is_not_given_up_for_the_one_before(
    ann, store, monkeypatch
):
    client = ann.logged_in()
    client.session.to_store()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(StoreError, match="No space left"):
            client.session.refresh()
    before = client.token
    client.session.refresh()
    assert refreshes(ann.live, client.session.session_id) == 2, (
        "by the token that came last, and not by the same one again"
    )
    assert InstanceAuthSessions.load().find(ann.live.url).token.reveal() == client.token != before


def test_tokens_that_came_with_another_answer_are_held_also_where_they_cannot_be_kept(
    stand_in, store
):
    answers = {
        "/v1/login": [Says(TOKENS)],
        "/v1/elevate": [Says({**TOKENS, "access_token": "at2"})],
    }
    client = Doorward(stand_in(WHO, routes=answers).url)
    client.login.with_password("ann", PASSWORD)
    client.session.to_store()
    for lock in store.parent.glob("*.lock"):
        lock.unlink()
        lock.mkdir()
    with pytest.raises(StoreError, match="cannot be used"):
        client.elevate(PASSWORD)
    assert client.token == "at2"


def test_a_session_alone_does_not_log_in_again(ann, store):
    client, other = ann.logged_in(), ann.logged_in()
    client.session.to_store()
    other.logout_all()
    for _ in range(2):
        with pytest.raises(NotLoggedInError, match="over: log in again"):
            client.whoami()
    assert json.loads(store.read_text()) == {}


def test_whoever_keeps_the_password_is_logged_in_again(ann):
    asked = []

    def password():
        asked.append(1)
        return PASSWORD

    keeps, asks = ann.logged_in(keep=True), ann.client()
    asks.login.with_password(ann.name, password)
    ann.logged_in().logout_all()
    before = keeps.session.session_id
    assert keeps.whoami().username == asks.whoami().username == ann.name
    assert keeps.session.session_id != before
    assert len(asked) == 2
    asks.logout()
    with pytest.raises(NotLoggedInError):
        _ = asks.token


def test_a_password_that_is_wrong_by_now_is_tried_once(stand_in):
    routes = {
        "/v1/login": [Says(TOKENS), Says({"code": "invalid_credentials"}, 401)],
        "/v1/token/refresh": [Says({"code": "invalid_grant"}, 400)],
    }
    there = stand_in(Says({"code": "unauthenticated"}, 401), routes=routes)
    client = Doorward(there.url)
    client.login.with_password("ann", PASSWORD, keep=True)
    with pytest.raises(InvalidCredentials):
        client.session.refresh()
    with pytest.raises(NotLoggedInError):
        client.session.refresh()
    assert there.paths().count("/v1/login") == 2


def test_a_fault_ends_no_session(stand_in):
    routes = {"/v1/login": [Says({**TOKENS, "expires_in": 1})], "/v1/token/refresh": [BAD_GATEWAY]}
    there = stand_in(WHO, routes=routes)
    client = Doorward(there.url)
    client.login.with_password("ann", PASSWORD)
    time.sleep(1.1)
    with pytest.raises(ServiceUnavailable):
        _ = client.token
    there.routes["/v1/token/refresh"] = [Says({**TOKENS, "access_token": "at2"})]
    assert client.token == "at2"


@pytest.mark.parametrize("fault", [BAD_GATEWAY, HTML])
def test_a_refresh_ahead_of_time_may_fail(stand_in, monkeypatch, fault):
    there = stand_in(fault, routes={"/v1/login": [Says(TOKENS)]})
    client = Doorward(there.url, revalidate_after=timedelta(0))
    client.login.with_password("ann", PASSWORD)
    assert client.token == "at", "which was asked about, and got no answer"
    assert "/v1/whoami" in there.paths()
    client.session.revalidate_after = None
    now = environment.get_now
    monkeypatch.setattr(here, "now", lambda: now() + timedelta(seconds=270))
    assert client.token == "at", "which still counts"
    tries = there.paths().count("/v1/token/refresh")
    assert client.token == "at"
    assert there.paths().count("/v1/token/refresh") == tries > 0, "it is not tried again at once"
    with pytest.raises((ServiceUnavailable, UnexpectedAnswer)):
        client.session.refresh()
    monkeypatch.setattr(here, "now", lambda: now() + timedelta(seconds=300))
    with pytest.raises((ServiceUnavailable, UnexpectedAnswer)):
        _ = client.token
    assert client.logged_in


def test_what_changes_something_is_not_sent_again_and_the_next_try_counts(stand_in):
    refused = Says({"code": "unauthenticated"}, 401)
    routes = {
        "/v1/login": [Says(TOKENS)],
        "/v1/token/refresh": [Says({**TOKENS, "access_token": "at2"})],
        "/v1/things": [refused, Says({})],
    }
    there = stand_in(WHO, routes=routes)
    client = Doorward(there.url)
    client.login.with_password("ann", PASSWORD)
    with pytest.raises(InvalidToken, match="try again") as error:
        client.call("POST", "/v1/things", json={})
    assert (error.value.code, there.paths().count("/v1/things")) == ("unauthenticated", 1)
    client.call("POST", "/v1/things", json={})
    assert there.headers_of("Authorization") == ["Bearer at", "Bearer at2"]


def test_a_refresh_whose_answer_was_lost_is_asked_for_again(stand_in):
    from tests.client.stand_in import HANGS_UP

    routes = {
        "/v1/login": [Says(TOKENS)],
        "/v1/token/refresh": [HANGS_UP, Says({**TOKENS, "access_token": "at2"})],
    }
    there = stand_in(WHO, routes=routes)
    client = Doorward(there.url)
    client.login.with_password("ann", PASSWORD)
    client.session.refresh()
    assert client.token == "at2"


def test_a_token_that_was_not_used_for_a_while_is_asked_about(stand_in):
    there = stand_in(WHO, routes={"/v1/login": [Says(TOKENS)]})
    client = Doorward(there.url, revalidate_after=timedelta(seconds=1.5))
    client.login.with_password("ann", PASSWORD)
    _ = client.token, client.token
    assert "/v1/whoami" not in there.paths()
    time.sleep(1.6)
    _ = client.token, client.token
    assert there.paths().count("/v1/whoami") == 1


def test_time_passes_while_the_machine_sleeps(stand_in, monkeypatch):
    """The monotonic clock of Linux stops meanwhile; the other goes on."""
    there = stand_in(
        WHO,
        routes={
            "/v1/login": [Says({**TOKENS, "expires_in": 7200})],
            "/v1/token/refresh": [Says({**TOKENS, "access_token": "at2"})],
        },
    )
    client = Doorward(there.url)
    client.login.with_password("ann", PASSWORD)
    now = environment.get_now
    monkeypatch.setattr(here, "now", lambda: now() + timedelta(hours=1))
    assert client.token == "at"
    assert there.paths() == ["/v1/login", "/v1/whoami"]
    monkeypatch.setattr(here, "now", lambda: now() + timedelta(hours=2))
    assert client.token == "at2"


def test_time_passes_while_the_clock_is_set_back(stand_in, monkeypatch):
    there = stand_in(
        WHO,
        routes={
            "/v1/login": [Says({**TOKENS, "expires_in": 1})],
            "/v1/token/refresh": [Says({**TOKENS, "access_token": "at2"})],
        },
    )
    client = Doorward(there.url)
    client.login.with_password("ann", PASSWORD)
    now = environment.get_now
    monkeypatch.setattr(here, "now", lambda: now() - timedelta(hours=1))
    time.sleep(0.85)
    assert client.token == "at2"


def test_days_count_as_days(stand_in):
    """A timedelta of a day has no `seconds` of its own."""
    there = stand_in(WHO, routes={"/v1/login": [Says({**TOKENS, "expires_in": 2 * 86400})]})
    client = Doorward(there.url, revalidate_after=timedelta(days=1))
    session = client.login.with_password("ann", PASSWORD, expires_in=timedelta(days=30))
    assert json.loads(there.seen[0][3])["expires_in"] == 30 * 86400
    assert client.token == "at"
    assert (session.expires_at - datetime.now(UTC)).total_seconds() > 2 * 86400 - 60
    assert there.paths() == ["/v1/login"]


def test_a_token_that_was_handed_over_is_not_refreshed(ann, monkeypatch):
    monkeypatch.setenv("DOORWARD_TOKEN", ann.logged_in().token)
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


def test_a_forked_process_has_connections_of_its_own(stand_in):
    there = stand_in(WHO, routes={"/v1/login": [Says(TOKENS)]})
    client = Doorward(there.url)
    client.login.with_password("ann", PASSWORD)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if client.whoami().username == "ann" else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert client.whoami().username == "ann"
    mine, childs, mine_again = there.ports
    assert mine == mine_again != childs


def test_a_forked_process_does_not_wait_for_threads_of_its_parent(stand_in):
    asked, go_on = threading.Event(), threading.Event()

    def slowly(_: str) -> Says:
        asked.set()
        go_on.wait(20)
        return Says({**TOKENS, "access_token": "at2"})

    client = Doorward(
        stand_in(
            Says({**TOKENS, "expires_in": 1}), routes={"/v1/token/refresh": [slowly, Says(TOKENS)]}
        ).url
    )
    client.login.with_password("ann", "secret")
    time.sleep(1)
    other = threading.Thread(target=client.session.refresh)
    other.start()
    assert asked.wait(20)
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
    go_on.set()
    other.join(20)
    assert ended == (pid, 0)
