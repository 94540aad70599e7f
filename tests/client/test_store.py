"""The store: whose it is, who may read it, and that nothing in it is lost."""

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
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from doorward import (
    AuthSession,
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
from tests.client.conftest import environment
from tests.client.stand_in import Says

URL = "https://auth.example.com"
LATER = datetime.now(UTC) + timedelta(hours=1)


def kept(name: str, *, minutes: float = 60, **more) -> AuthSession:
    return AuthSession(
        Secret(f"token-of-{name}"),
        datetime.now(UTC) + timedelta(minutes=minutes),
        username=name,
        **more,
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def saved(*names: str, url: str = URL) -> InstanceAuthSessions:
    sessions = InstanceAuthSessions.load()
    for name in names:
        sessions.insert(url, name, kept(name))
    sessions.save()
    return sessions


def test_what_was_kept_is_found_in_every_spelling_of_the_address(store):
    saved("ann", "bob")
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


def test_only_its_owner_can_read_anything_there(store, monkeypatch):
    monkeypatch.setenv("DOORWARD_STORE", str(store.parent / "below" / store.name))
    old = os.umask(0)
    try:
        saved("ann")
    finally:
        os.umask(old)
    assert mode(store.parent) == 0o700, "what is made on the way is not left open either"
    store = get_store_path()
    assert mode(store.parent) == 0o700
    assert {mode(path) for path in store.parent.iterdir()} == {0o600}
    assert len(list(store.parent.iterdir())) == 2, "the file and its lock"


def test_without_a_name_it_is_in_the_folder_of_settings(monkeypatch, tmp_path):
    monkeypatch.delenv("DOORWARD_STORE")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    saved("ann")
    assert get_store_path() == tmp_path / "settings" / "doorward" / "sessions.json"
    assert mode(tmp_path / "settings" / "doorward") == 0o700


@pytest.mark.parametrize("name", ["~nobody-of-that-name/sessions.json", f"/tmp/{'x' * 300}"])
def test_a_place_that_cannot_be_is_named(monkeypatch, name):
    monkeypatch.setenv("DOORWARD_STORE", name)
    with pytest.raises(StoreError, match="name a file of your own"):
        get_store_path()


def test_what_has_expired_is_never_found_and_not_kept(store):
    sessions = InstanceAuthSessions.load()
    sessions.insert(URL, "ann", kept("ann", minutes=-1))
    sessions.insert(
        URL, "bob", kept("bob", minutes=-1, refresh_token=Secret("rt"), refresh_expires=LATER)
    )
    assert sessions.find(URL, "ann") is None
    assert sessions.find(URL, "bob").refresh_token == Secret("rt")
    sessions.save()
    assert set(json.loads(store.read_text())[URL]) == {"bob"}


def test_the_file_of_cryosparc_tools_is_read_and_what_we_write_has_its_shape(store):
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
    with pytest.raises(StoreError, match="is not kept"):
        sessions.insert(URL, "ann", "tokén", LATER)
    with pytest.raises(StoreError, match="time zone"):
        sessions.insert(URL, "ann", "token", datetime(2030, 1, 1))  # noqa: DTZ001 - which is what is wrong with it


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
def test_a_broken_file_is_set_aside_and_never_written_over(store, broken):
    store.parent.mkdir(mode=0o700)
    store.write_text(broken)
    store.chmod(0o600)
    with pytest.warns(StoreWarning, match=r"is broken .+ kept as sessions\.json\.broken-") as told:
        sessions = InstanceAuthSessions.load()
    assert "planted-secret" not in str(told[0].message)
    sessions.insert(URL, "ann", kept("ann"))
    sessions.save()
    [aside] = store.parent.glob("sessions.json.broken-*")
    assert aside.read_text() == broken
    assert mode(aside) == 0o600
    assert InstanceAuthSessions.load().find(URL, "ann")


def test_a_file_that_broke_before_the_save_is_set_aside_too(store):
    sessions = saved("ann")
    store.write_text("{ half")
    sessions.insert(URL, "bob", kept("bob"))
    with pytest.warns(StoreWarning):
        sessions.save()
    assert [path.read_text() for path in store.parent.glob("*.broken-*")] == ["{ half"]


def test_what_others_could_read_is_closed_with_a_warning(store):
    saved("ann")
    store.chmod(0o644)
    with pytest.warns(StoreWarning, match="others could read .+log out all sessions"):
        InstanceAuthSessions.load()
    assert mode(store) == 0o600
    store.parent.chmod(0o755)
    with pytest.warns(StoreWarning, match="others could look into"):
        saved("bob")
    assert mode(store.parent) == 0o700
    lock = store.with_name("sessions.json.lock")
    lock.chmod(0o644)
    saved("carol")
    assert mode(lock) == 0o600


def test_a_folder_that_others_can_write_to_is_refused(store):
    store.parent.mkdir()
    (store.parent / "notes.txt").write_text("something else is here, so it is not ours to close")
    store.parent.chmod(0o777)
    with pytest.raises(StoreError, match="Others may write to"):
        saved("ann")
    store.parent.chmod(0o755)
    saved("ann")
    assert mode(store.parent) == 0o755, "others may look at the names, and at nothing else"
    assert mode(store) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_somebody_else_is_refused(store):
    saved("ann")
    os.chown(store, 12345, 12345)
    with pytest.raises(StoreError, match="belongs to another user"):
        InstanceAuthSessions.load()
    os.chown(store, 0, 0)
    os.chown(store.parent, 12345, 12345)
    with pytest.raises(StoreError, match="belongs to another user"):
        saved("bob")


def test_a_link_is_followed_and_stays_one(store, tmp_path):
    real = tmp_path / "dotfiles" / "doorward.json"
    real.parent.mkdir(mode=0o700)
    store.parent.mkdir(mode=0o700)
    store.symlink_to(real)
    saved("ann")
    assert store.is_symlink()
    assert mode(real) == 0o600
    assert "token-of-ann" in real.read_text()
    assert InstanceAuthSessions.load(store).find(URL, "ann")
    if os.geteuid() == 0:
        os.lchown(store, 12345, 12345)
        with pytest.raises(StoreError, match="belongs to another user"):
            InstanceAuthSessions.load()


def test_what_is_no_file_is_refused(store):
    store.parent.mkdir(mode=0o700)
    os.mkfifo(store, 0o600)
    with pytest.raises(StoreError, match="is no file"):
        InstanceAuthSessions.load()


def test_a_save_that_fails_leaves_everything_as_it_was(store):
    sessions = saved("ann")
    before = store.read_text()
    sessions.insert(URL, "bob", kept("b" * 100))
    store.parent.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(StoreError, match="No space left"):
            sessions.save()
    assert store.read_text() == before
    assert not list(store.parent.glob("*.tmp"))
    sessions.save()
    assert InstanceAuthSessions.load().find(URL, "bob")


def full_disk(_):
    import errno

    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_removal_does_not_take_a_newer_login_along(store):
    old = InstanceAuthSessions.load()
    old.insert(URL, "ann", kept("ann", session_id="ses_1"))
    old.save()
    newer = InstanceAuthSessions.load()
    newer.insert(URL, "ann", kept("ann", session_id="ses_2"))
    newer.save()
    assert [one.session_id for one in old.remove(URL)] == ["ses_1"]
    old.save()
    assert InstanceAuthSessions.load().find(URL, "ann").session_id == "ses_2"


def test_it_may_be_saved_elsewhere_as_a_whole(store, tmp_path):
    copy = tmp_path / "copy" / "sessions.json"
    saved("ann", "bob").save(copy)
    assert InstanceAuthSessions.load(copy).instances[URL].find_user("bob") == "bob"


# -- processes --------------------------------------------------------------------------------------------------------

INSERTS = """
import sys
from datetime import UTC, datetime, timedelta
from doorward import InstanceAuthSessions
for number in range(50):
    sessions = InstanceAuthSessions.load()
    sessions.insert(f"https://host{number % 5}.example.com", f"{sys.argv[1]}-{number}", "token", datetime.now(UTC) + timedelta(hours=1))
    sessions.save()
"""


def test_four_processes_lose_nothing(store):
    processes = [
        subprocess.Popen([sys.executable, "-c", INSERTS, str(number)], env=environment())
        for number in range(4)
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0, 0]
    instances = json.loads(store.read_text())
    assert sorted(user for users in instances.values() for user in users) == sorted(
        f"{a}-{b}" for a in range(4) for b in range(50)
    )
    assert {mode(path) for path in store.parent.iterdir()} == {0o600}


WRITES = """
from datetime import UTC, datetime, timedelta
from doorward import InstanceAuthSessions
sessions, number = InstanceAuthSessions.load(), 0
print("begun", flush=True)
while True:
    number += 1
    sessions.insert("https://auth.example.com", f"user-{number % 300}", "token" * 200, datetime.now(UTC) + timedelta(hours=1))
    sessions.save()
"""


def test_the_store_is_whole_whenever_a_writer_is_killed(store):
    saved("ann")
    for pause in (0.0, 0.011, 0.023, 0.037):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITES], env=environment(), stdout=subprocess.PIPE
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
    saved("bob")
    assert not list(store.parent.glob(".*.tmp")), "what the killed had begun to write is swept away"


# -- whose token goes where -------------------------------------------------------------------------------------------


def test_from_store_uses_the_session_of_the_service_and_user(ann, store, monkeypatch):
    client = ann.logged_in()
    client.session.to_store()
    again = Doorward(ann.live.url)
    assert again.login.from_store().username == ann.name
    assert again.whoami().session_id == client.session.session_id
    assert Doorward().login.from_store().username == ann.name, "there is only one service"
    with pytest.raises(NotLoggedInError, match="called bob"):
        Doorward(ann.live.url).login.from_store(user="bob")
    longer = kept("zoe", refresh_token=Secret("rt"), refresh_expires=LATER + timedelta(days=60))
    sessions = InstanceAuthSessions.load()
    sessions.insert(ann.live.url, "zoe", longer)
    sessions.save()
    assert Doorward(ann.live.url).login.from_store().username == "zoe", "whose lasts longest"
    sessions.remove(ann.live.url, "zoe")
    sessions.save()
    monkeypatch.setenv("DOORWARD_USER", "bob")
    with pytest.raises(NotLoggedInError, match="called bob"):
        Doorward(ann.live.url).login.from_store()
    monkeypatch.delenv("DOORWARD_USER")
    saved("ann")
    with pytest.raises(InvalidInput, match="name one"):
        Doorward().login.from_store()
    again.logout()
    with pytest.raises(NotLoggedInError):
        Doorward(ann.live.url).login.from_store()


def test_the_session_of_one_service_is_not_used_at_another(ann, store):
    ann.logged_in().session.to_store()
    with pytest.raises(NotLoggedInError):
        Doorward("http://127.0.0.1:1").login.from_store()
    with pytest.raises(StoreError, match="is not sent there"):
        Doorward("http://127.0.0.1:1").login.from_store(url=ann.live.url)


def test_a_token_file_is_not_used_at_another_service(ann, tmp_path):
    ann.logged_in().to_token_file(tmp_path / "token")
    with pytest.raises(StoreError, match="is not sent there"):
        Doorward("http://127.0.0.1:1").login.from_token_file(tmp_path / "token")


def test_a_session_has_one_home(ann, store, tmp_path):
    client = ann.logged_in()
    client.session.to_store()
    client.session.to_token_file(tmp_path / "token")
    assert json.loads(store.read_text()) == {}
    client.session.refresh()
    assert (tmp_path / "token").read_text().splitlines()[1] == client.token


def test_no_other_service_ever_sees_a_token(ann, store, stand_in, tmp_path, monkeypatch):
    other = stand_in(Says({}))
    client = ann.logged_in()
    token = client.token
    client.session.to_store()
    monkeypatch.setenv("DOORWARD_URL", other.url)
    there = Doorward()
    for act in (
        there.login.from_store,
        lambda: there.login.from_store(url=ann.live.url),
        there.version,
    ):
        with suppress(DoorwardError):
            act()
    client.session.to_token_file(tmp_path / "token")
    with pytest.raises(StoreError, match="is not sent there"):
        there.login.from_token_file(tmp_path / "token")
    lines = (tmp_path / "token").read_text().splitlines()
    program = Doorward()
    program.login.from_token_file(tmp_path / "token")
    assert program.url == ann.live.url, (
        "the file says for whom it is, whatever the environment does"
    )
    (tmp_path / "token").write_text("\n".join([other.url, *lines[1:]]))
    with suppress(DoorwardError):
        client.session.refresh()
    assert other.paths() == ["/version"]
    assert token not in str(other.seen)
