"""Secrets of the store in the system keyring."""

from __future__ import annotations

import sys
from datetime import timedelta

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail, null

from doorward import (
    Doorward,
    InstanceAuthSessions,
    NotLoggedInError,
    Secret,
    StoreError,
    environment,
)
from tests.client.run_cli import run_doorward
from tests.client.store_entries import URL, build_session


class Memory(KeyringBackend):
    """A keyring in memory that can be locked, like that of a desktop."""

    priority = 1

    def __init__(self):
        super().__init__()
        self.entries, self.locked = {}, False

    def set_password(self, service, username, password):
        self.check_lock()
        self.entries[service, username] = password

    def get_password(self, service, username):
        self.check_lock()
        return self.entries.get((service, username))

    def delete_password(self, service, username):
        if self.entries.pop((service, username), None) is None:
            raise keyring.errors.PasswordDeleteError

    def check_lock(self):
        if self.locked:
            raise keyring.errors.KeyringLocked("planted-secret")


@pytest.fixture
def memory_keyring(store, monkeypatch):
    before = keyring.get_keyring()
    keyring.set_keyring(Memory())
    monkeypatch.setenv("DOORWARD_STORE", f"keyring:{store}")
    yield keyring.get_keyring()
    keyring.set_keyring(before)


def test_secrets_are_in_the_keyring_and_not_in_the_file(ann, store, memory_keyring):
    client = ann.log_in()
    client.session.to_store()
    token, text = client.token, store.read_text()
    assert token not in text
    assert "dwr1." not in text
    assert token in str(memory_keyring.entries)
    again = Doorward()
    again.login.from_store()
    again.session.refresh()
    assert again.token != token
    assert again.token in str(memory_keyring.entries)
    assert client.whoami().username == again.whoami().username == ann.name
    again.logout()
    assert memory_keyring.entries == {}
    with pytest.raises(NotLoggedInError):
        Doorward(ann.live.url).login.from_store()


def test_session_with_unknown_expiry_is_found(store, memory_keyring, monkeypatch):
    sessions = InstanceAuthSessions.load()
    sessions.insert(URL, "ann", build_session("ann", minutes=1, refresh_token=Secret("rt")))
    sessions.insert(URL, "bob", build_session("bob", minutes=1))
    sessions.save()
    now = environment.get_now
    monkeypatch.setattr(environment, "get_now", lambda: now() + timedelta(minutes=2))
    found = InstanceAuthSessions.load()
    assert found.find(URL, "ann").refresh_token == Secret("rt")
    assert found.find(URL, "bob") is None
    found.save()
    assert "token-of-ann" in str(memory_keyring.entries)
    assert "token-of-bob" not in str(memory_keyring.entries)


def test_secrets_move_from_the_file_to_the_keyring(store, memory_keyring):
    plain = InstanceAuthSessions.load(store)
    plain.insert(URL, "ann", build_session("ann"))
    plain.save()
    assert "token-of-ann" in store.read_text()
    sessions = InstanceAuthSessions.load()
    sessions.insert(URL, "bob", build_session("bob"))
    sessions.save()
    assert "token-of" not in store.read_text()
    assert InstanceAuthSessions.load(store).find(URL, "ann").token.reveal() == "token-of-ann"


def test_locked_keyring_raises_without_fallback(store, memory_keyring):
    sessions = InstanceAuthSessions.load()
    sessions.insert(URL, "ann", build_session("ann"))
    memory_keyring.locked = True
    with pytest.raises(StoreError, match="KeyringLocked") as refused:
        sessions.save()
    assert refused.value.__context__ is None
    assert not store.exists()


class PlaintextKeyring(Memory):
    """A backend with the name of the unencrypted one in keyrings.alt."""


@pytest.mark.parametrize("backend", [fail.Keyring, null.Keyring, PlaintextKeyring])
def test_missing_keyring_raises_without_fallback(store, memory_keyring, backend):
    keyring.set_keyring(backend())
    sessions = InstanceAuthSessions.load()
    sessions.insert(URL, "ann", build_session("ann"))
    with pytest.raises(StoreError, match="no safe keyring"):
        sessions.save()
    result = run_doorward(
        "login", "--url", "http://127.0.0.1:9", "--user", "ann", "--password-stdin", stdin="x"
    )
    assert (result.code, "no safe keyring" in result.err) == (1, True), "it fails before the login"
    assert not store.exists()


def test_missing_keyring_package_is_named(store, memory_keyring, monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    sessions = InstanceAuthSessions.load()
    sessions.insert(URL, "ann", build_session("ann"))
    with pytest.raises(StoreError, match=r"pip install 'doorward\[keyring\]'"):
        sessions.save()
