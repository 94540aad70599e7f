"""The session store: permissions, format, concurrency, and which service receives a token."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from doorward import (
    Doorward,
    DoorwardError,
    InstanceAuthSessions,
    InvalidInput,
    NotLoggedInError,
    Secret,
    StoreError,
    StoreWarning,
    UserAuthSessions,
    get_store_path,
)
from tests.client.conftest import build_environment
from tests.client.fake_server import Reply
from tests.client.store_entries import LATER, URL, build_session, raise_disk_full


def get_mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def save_entries(*names: str, url: str = URL) -> InstanceAuthSessions:
    sessions = InstanceAuthSessions.load()
    for name in names:
        sessions.insert(url, name, build_session(name))
    sessions.save()
    return sessions


def test_session_is_found_by_any_spelling_of_the_url(store):
    save_entries("ann", "bob")
    found = InstanceAuthSessions.load()
    for url in ("https://AUTH.example.com", "https://auth.example.com:443/", "auth.example.com"):
        assert found.find(url, "ann").token.reveal() == "token-of-ann"
    assert isinstance(found.instances[URL], UserAuthSessions)
    assert found.find(URL, "carol") is None
    assert found.find("https://other.example.com", "ann") is None
    assert found.find("https://auth.example.com:8443", "ann") is None
    found.remove(URL, "ann")
    found.save()
    assert InstanceAuthSessions.load().find(URL).username == "bob"


def test_store_is_readable_only_by_its_owner(store, monkeypatch):
    monkeypatch.setenv("DOORWARD_STORE", str(store.parent / "below" / store.name))
    old = os.umask(0)
    try:
        save_entries("ann")
    finally:
        os.umask(old)
    assert get_mode(store.parent) == 0o700, "parent folders are private too"
    store = get_store_path()
    assert get_mode(store.parent) == 0o700
    assert {get_mode(path) for path in store.parent.iterdir()} == {0o600}
    assert len(list(store.parent.iterdir())) == 2, "the file and its lock"


def test_default_store_is_in_the_config_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("DOORWARD_STORE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    save_entries("ann")
    assert get_store_path() == tmp_path / "settings" / "doorward" / "sessions.json"
    assert get_mode(tmp_path / "settings" / "doorward") == 0o700


@pytest.mark.parametrize("name", ["~nobody-of-that-name/sessions.json", f"/tmp/{'x' * 300}"])
def test_invalid_store_path_is_reported(monkeypatch, name):
    monkeypatch.setenv("DOORWARD_STORE", name)
    with pytest.raises(StoreError, match="Set DOORWARD_STORE"):
        get_store_path()


def test_expired_sessions_are_neither_found_nor_saved(store):
    sessions = InstanceAuthSessions.load()
    sessions.insert(URL, "ann", build_session("ann", minutes=-1))
    sessions.insert(
        URL,
        "bob",
        build_session("bob", minutes=-1, refresh_token=Secret("rt"), refresh_expires=LATER),
    )
    assert sessions.find(URL, "ann") is None
    assert sessions.find(URL, "bob").refresh_token == Secret("rt")
    sessions.save()
    assert set(json.loads(store.read_text())[URL]) == {"bob"}


def test_store_format_is_compatible_with_cryosparc_tools(store):
    entry = {
        "token": {"access_token": "abc123", "token_type": "bearer"},
        "expires": LATER.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
    }
    store.parent.mkdir(mode=0o700)
    older = {
        "token": {"access_token": "older", "token_type": "bearer"},
        "expires": (LATER - timedelta(minutes=1)).isoformat(),
    }
    spelled = {"https://Cryo.example.com/": entry, "https://cryo.example.com": older}
    store.write_text(json.dumps({url: {"ali@example.com": one} for url, one in spelled.items()}))
    store.chmod(0o600)
    sessions = InstanceAuthSessions.load()
    assert sessions.find("https://cryo.example.com").token.reveal() == "abc123"
    sessions.insert(URL, "ann", "token", LATER)
    sessions.save()
    written = json.loads(store.read_text())
    assert written["https://cryo.example.com"]["ali@example.com"].items() >= entry.items()
    assert written[URL]["ann"] == {
        "token": {"access_token": "token", "token_type": "bearer"},
        "expires": LATER.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "username": "ann",
    }
    with pytest.raises(StoreError, match="invalid characters"):
        sessions.insert(URL, "ann", "tokén", LATER)
    with pytest.raises(StoreError, match="time zone"):
        sessions.insert(URL, "ann", "token", datetime(2030, 1, 1))  # noqa: DTZ001 - the error under test


@pytest.mark.parametrize(
    "broken",
    [
        "{",
        "",
        "[]",
        '{"https://auth.example.com": []}',
        '{"ftp://x": {}}',
        '{"https://auth.example.com": {"ann": {"token": "planted-secret", "expires": "2030-01-01"}}}',
        '{"https://auth.example.com": {"ann": {"token": {"access_token": "planted-secret"}, "expires": "2030-01-01"}}}',
        '{"https://auth.example.com": {"ann": {"token": {"access_token": "planted-secret\\u00e9"}, "expires": "2030-01-01T00:00:00Z"}}}',
        '{"https://auth.example.com": {"ann": {"token": {"access_token": "planted-secret"}, "expires": "9999-12-31T23:59:59-14:00"}}}',
        "[" * 100_000,
        "\0" * 100,
    ],
)
def test_malformed_store_is_renamed_and_never_overwritten(store, broken):
    store.parent.mkdir(mode=0o700)
    store.write_text(broken)
    store.chmod(0o600)
    with pytest.warns(
        StoreWarning, match=r"is malformed .+ renamed to sessions\.json\.broken-"
    ) as caught:
        sessions = InstanceAuthSessions.load()
    assert "planted-secret" not in str(caught[0].message)
    sessions.insert(URL, "ann", build_session("ann"))
    sessions.save()
    [aside] = store.parent.glob("sessions.json.broken-*")
    assert aside.read_text() == broken
    assert get_mode(aside) == 0o600
    assert InstanceAuthSessions.load().find(URL, "ann")


def test_store_that_became_malformed_is_renamed_on_save(store):
    sessions = save_entries("ann")
    store.write_text("{ half")
    sessions.insert(URL, "bob", build_session("bob"))
    with pytest.warns(StoreWarning):
        sessions.save()
    assert [path.read_text() for path in store.parent.glob("*.broken-*")] == ["{ half"]


def test_readable_store_is_repaired_with_a_warning(store):
    save_entries("ann")
    store.chmod(0o644)
    with pytest.warns(StoreWarning, match="other users could read .+log out of all sessions"):
        InstanceAuthSessions.load()
    assert get_mode(store) == 0o600
    store.parent.chmod(0o755)
    with pytest.warns(StoreWarning, match="other users could read the folder"):
        save_entries("bob")
    assert get_mode(store.parent) == 0o700
    lock = store.with_name("sessions.json.lock")
    lock.chmod(0o644)
    save_entries("carol")
    assert get_mode(lock) == 0o600


def test_writable_folder_is_refused(store):
    store.parent.mkdir()
    (store.parent / "notes.txt").write_text("another file, so the folder is not dedicated")
    store.parent.chmod(0o777)
    with pytest.raises(StoreError, match="Other users can write to"):
        save_entries("ann")
    store.parent.chmod(0o755)
    save_entries("ann")
    assert get_mode(store.parent) == 0o755, "the folder keeps its mode"
    assert get_mode(store) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_store_of_another_user_is_refused(store):
    save_entries("ann")
    os.chown(store, 12345, 12345)
    with pytest.raises(StoreError, match="belongs to another user"):
        InstanceAuthSessions.load()
    os.chown(store, 0, 0)
    os.chown(store.parent, 12345, 12345)
    with pytest.raises(StoreError, match="belongs to another user"):
        save_entries("bob")


def test_symbolic_link_is_followed_and_kept(store, tmp_path):
    real = tmp_path / "dotfiles" / "doorward.json"
    real.parent.mkdir(mode=0o700)
    store.parent.mkdir(mode=0o700)
    store.symlink_to(real)
    save_entries("ann")
    assert store.is_symlink()
    assert get_mode(real) == 0o600
    assert "token-of-ann" in real.read_text()
    assert InstanceAuthSessions.load(store).find(URL, "ann")
    if os.geteuid() == 0:
        os.lchown(store, 12345, 12345)
        with pytest.raises(StoreError, match="belongs to another user"):
            InstanceAuthSessions.load()


def test_store_that_is_not_a_regular_file_is_refused(store):
    store.parent.mkdir(mode=0o700)
    os.mkfifo(store, 0o600)
    with pytest.raises(StoreError, match="is not a regular file"):
        InstanceAuthSessions.load()


def test_failed_save_changes_nothing(store):
    sessions = save_entries("ann")
    before = store.read_text()
    sessions.insert(URL, "bob", build_session("b" * 100))
    store.parent.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", raise_disk_full)
        with pytest.raises(StoreError, match="No space left"):
            sessions.save()
    assert store.read_text() == before
    assert not list(store.parent.glob("*.tmp"))
    sessions.save()
    assert InstanceAuthSessions.load().find(URL, "bob")


def test_removal_keeps_a_newer_login(store):
    old = InstanceAuthSessions.load()
    old.insert(URL, "ann", build_session("ann", session_id="ses_1"))
    old.save()
    newer = InstanceAuthSessions.load()
    newer.insert(URL, "ann", build_session("ann", session_id="ses_2"))
    newer.save()
    assert [one.session_id for one in old.remove(URL)] == ["ses_1"]
    old.save()
    assert InstanceAuthSessions.load().find(URL, "ann").session_id == "ses_2"


def test_store_can_be_saved_to_another_file(store, tmp_path):
    copy = tmp_path / "copy" / "sessions.json"
    save_entries("ann", "bob").save(copy)
    assert InstanceAuthSessions.load(copy).instances[URL].find_user("bob") == "bob"


# Processes.

INSERT_SCRIPT = """
import sys
from datetime import UTC, datetime, timedelta
from doorward import InstanceAuthSessions
for number in range(50):
    sessions = InstanceAuthSessions.load()
    sessions.insert(f"https://host{number % 5}.example.com", f"{sys.argv[1]}-{number}", "token", datetime.now(UTC) + timedelta(hours=1))
    sessions.save()
"""


def test_concurrent_saves_lose_no_session(store):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", INSERT_SCRIPT, str(number)], env=build_environment()
        )
        for number in range(4)
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    instances = json.loads(store.read_text())
    assert sorted(user for users in instances.values() for user in users) == sorted(
        f"{a}-{b}" for a in range(4) for b in range(50)
    )
    assert {get_mode(path) for path in store.parent.iterdir()} == {0o600}


WRITE_SCRIPT = """
from datetime import UTC, datetime, timedelta
from doorward import InstanceAuthSessions
sessions, number = InstanceAuthSessions.load(), 0
print("begun", flush=True)
while True:
    number += 1
    sessions.insert("https://auth.example.com", f"user-{number % 300}", "token" * 200, datetime.now(UTC) + timedelta(hours=1))
    sessions.save()
"""


def test_store_is_intact_after_a_writer_is_killed(store):
    save_entries("ann")
    for pause in (0.0, 0.011, 0.023, 0.037):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITE_SCRIPT], env=build_environment(), stdout=subprocess.PIPE
        )
        assert writer.stdout.readline() == b"begun\n"
        time.sleep(pause)
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
        writer.stdout.close()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert InstanceAuthSessions.load().find(URL, "ann")
    (store.parent / ".sessions.json.dead.tmp").write_text("half")
    save_entries("bob")
    assert not list(store.parent.glob(".*.tmp")), "leftover temporary files are removed"


# Whose token goes where.


def test_from_store_uses_the_session_of_the_service_and_user(ann, store, monkeypatch):
    client = ann.log_in()
    client.session.to_store()
    again = Doorward(ann.live.url)
    assert again.login.from_store().username == ann.name
    assert again.whoami().session_id == client.session.session_id
    assert Doorward().login.from_store().username == ann.name, "the only service in the store"
    with pytest.raises(NotLoggedInError, match="as bob"):
        Doorward(ann.live.url).login.from_store(user="bob")
    longer = build_session(
        "zoe", refresh_token=Secret("rt"), refresh_expires=LATER + timedelta(days=60)
    )
    sessions = InstanceAuthSessions.load()
    sessions.insert(ann.live.url, "zoe", longer)
    sessions.save()
    assert Doorward(ann.live.url).login.from_store().username == "zoe", (
        "the session that expires last"
    )
    sessions.remove(ann.live.url, "zoe")
    sessions.save()
    monkeypatch.setenv("DOORWARD_USER", "bob")
    with pytest.raises(NotLoggedInError, match="as bob"):
        Doorward(ann.live.url).login.from_store()
    monkeypatch.delenv("DOORWARD_USER")
    save_entries("ann")
    with pytest.raises(InvalidInput, match="Pass url"):
        Doorward().login.from_store()
    again.logout()
    with pytest.raises(NotLoggedInError):
        Doorward(ann.live.url).login.from_store()


def test_session_is_not_used_at_another_service(ann, store):
    ann.log_in().session.to_store()
    with pytest.raises(NotLoggedInError):
        Doorward("http://127.0.0.1:1").login.from_store()
    with pytest.raises(StoreError, match="was not sent"):
        Doorward("http://127.0.0.1:1").login.from_store(url=ann.live.url)


def test_token_file_is_not_used_at_another_service(ann, tmp_path):
    ann.log_in().session.to_token_file(tmp_path / "token")
    with pytest.raises(StoreError, match="was not sent"):
        Doorward("http://127.0.0.1:1").login.from_token_file(tmp_path / "token")


def test_session_has_one_storage(ann, store, tmp_path):
    client = ann.log_in()
    client.session.to_store()
    client.session.to_token_file(tmp_path / "token")
    assert json.loads(store.read_text()) == {}
    client.session.refresh()
    assert (tmp_path / "token").read_text().splitlines()[1] == client.token


def test_token_is_never_sent_to_another_service(ann, store, fake_server, tmp_path, monkeypatch):
    other = fake_server(Reply({}))
    client = ann.log_in()
    token = client.token
    client.session.to_store()
    monkeypatch.setenv("DOORWARD_URL", other.url)
    server = Doorward()
    for act in (
        server.login.from_store,
        lambda: server.login.from_store(url=ann.live.url),
        server.get_version,
    ):
        with suppress(DoorwardError):
            act()
    client.session.to_token_file(tmp_path / "token")
    with pytest.raises(StoreError, match="was not sent"):
        server.login.from_token_file(tmp_path / "token")
    lines = (tmp_path / "token").read_text().splitlines()
    program = Doorward()
    program.login.from_token_file(tmp_path / "token")
    assert program.url == ann.live.url, "the file decides the service, not the environment"
    (tmp_path / "token").write_text("\n".join([other.url, *lines[1:]]))
    with suppress(DoorwardError):
        client.session.refresh()
    assert other.paths() == ["/version"]
    assert token not in str(other.seen)
