"""Sessions of one person at many services, in one file: instance → user → session, the shape that cryosparc-tools has.

{"https://auth.example.com": {"ann": {"token": {"access_token": "…", "token_type": "bearer"}, "expires": "…", "refresh_token": "…", …}}}
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from doorward import environment as here
from doorward.errors import StoreError, StoreWarning
from doorward.secret import Secret
from doorward.store import keyring_secrets, private_files
from doorward.store.entries import AuthSession, UserAuthSessions
from doorward.store.file_format import Instances, normalize_url, parse_sessions, serialize_sessions

FILE_NAME = "sessions.json"
KEYRING = "keyring"
Change = Callable[[Instances], None]


@dataclass(frozen=True, slots=True)
class StoreLocation:
    """A file, and whether the secrets are in the keyring instead of in it."""

    path: Path
    uses_keyring: bool = False

    @property
    def has_own_folder(self) -> bool:
        """Is nothing in the folder but the store?"""
        try:
            return all(
                one.name.removeprefix(".").startswith(self.path.name)
                for one in self.path.parent.iterdir()
            )
        except OSError:
            return True

    @contextmanager
    def hold_lock(self, name: str = "") -> Iterator[None]:
        """Locked for other processes; with a name, only what has that name."""
        private_files.prepare_folder(self.path.parent, dedicated=self.has_own_folder)
        with private_files.hold_lock(
            self.path.with_name(f"{self.path.name}.{f'{_shorten(name)}.' if name else ''}lock")
        ):
            yield


class InstanceAuthSessions:
    """All sessions of a store. What is inserted or removed counts for this object at once, and for the file with `save()`.

    `save()` repeats the changes on what the file holds by then, under its lock: many processes may save and none loses anything.
    """

    def __init__(
        self,
        instances: Mapping[str, UserAuthSessions] | None = None,
        *,
        location: StoreLocation | None = None,
    ) -> None:
        self.instances: Instances = {
            normalize_url(url): users for url, users in (instances or {}).items()
        }
        self.location = location
        self._changes: list[Change] = []

    def __repr__(self) -> str:
        return f"<InstanceAuthSessions of {', '.join(self.instances) or 'nothing'}>"

    @classmethod
    def load(
        cls, path: str | os.PathLike[str] | StoreLocation | None = None
    ) -> InstanceAuthSessions:
        """What the file holds; nothing where there is none. Without a path: DOORWARD_STORE, else the user's folder of settings.

        A file that cannot be understood is set aside under another name, with a StoreWarning. Raises StoreError.
        """
        place = resolve_location(path)
        found, fault = parse_sessions(private_files.read(place.path))
        if not fault:
            return cls(found, place=place)
        with place.held():  # looked at once more, since somebody may just have mended it
            return cls(_read_or_quarantine(place.path), place=place)

    def save(self, path: str | os.PathLike[str] | StoreLocation | None = None) -> None:
        """Write the changes down; to another file than that of `load`, everything. Raises StoreError, and then the file is as it was."""
        place = resolve_location(path or self.location)
        changes = (
            self._changes
            if place == self.location
            else [_build_insertion(*one) for one in _list_entries(self.instances)]
        )
        with place.held():
            merged = _read_or_quarantine(place.path)
            before = {(url, user) for url, user, one in _list_entries(merged) if one.in_keyring}
            for change in changes:
                change(merged)
            if place.uses_keyring:
                _move_secrets_to_keyring(merged)
            private_files.remove_leftovers(place.path)
            private_files.write(place.path, serialize_sessions(merged))
            for url, user in before - {
                (url, user)
                for url, user, one in _list_entries(merged)
                if one.in_keyring and not one.is_expired()
            }:
                keyring_secrets.delete_secrets(url, user)
        self.instances, self.location, self._changes = merged, place, []

    def find(self, url: str, user: str | None = None) -> AuthSession | None:
        """The session of the user there, or the one that lasts longest; never one that has expired."""
        key, name = normalize_url(url), self.find_user(url, user)
        if name is None:
            return None
        found = self.instances[key].sessions[name]
        return keyring_secrets.load_secrets(key, name, found) if found.in_keyring else found

    def find_user(self, url: str, user: str | None = None) -> str | None:
        """The user whose session `find` finds."""
        users = self.instances.get(normalize_url(url))
        return users.whose(user) if users else None

    def insert(
        self,
        url: str,
        user: str,
        token: AuthSession | Secret | str,
        expires: datetime | None = None,
        *,
        refresh_token: Secret | None = None,
    ) -> AuthSession:
        """Keep a session for the user, instead of the one before. `expires` is needed with a bare token, and knows its time zone."""
        session = (
            token
            if isinstance(token, AuthSession)
            else _build_session(Secret.wrap(token), expires, refresh_token, user)
        )
        if not session.token.is_header_safe and not session.in_keyring:
            raise StoreError(
                "A token without characters, or with some that no request can carry, is not kept: give it as it was handed out."
            )
        self._apply(_build_insertion(normalize_url(url), user, session))
        return session

    def remove(self, url: str, user: str | None = None) -> list[AuthSession]:
        """Forget the user's session there, or all there are. One that another process has put there since is left alone."""
        users = self.instances.get(normalize_url(url), UserAuthSessions()).sessions
        gone = {name: one for name, one in users.items() if user is None or name == user}
        for name, one in gone.items():
            self._apply(_build_removal(normalize_url(url), name, one))
        return list(gone.values())

    def _apply(self, change: Change) -> None:
        change(self.instances)
        self._changes.append(change)


def get_store_path() -> Path:
    """Where sessions are kept: DOORWARD_STORE as it is now, else the user's folder of settings."""
    return resolve_location(None).path


def resolve_location(location: str | os.PathLike[str] | StoreLocation | None) -> StoreLocation:
    """The place that is meant; `keyring`, or `keyring:` before a path, puts the secrets into the keyring of the system."""
    if isinstance(location, StoreLocation):
        return location
    text = os.fspath(location) if location is not None else here.get_variable("DOORWARD_STORE")
    keyring = text == KEYRING or text.startswith(f"{KEYRING}:")
    text = text.removeprefix(KEYRING).removeprefix(":") if keyring else text
    try:
        found = Path(text or _get_default_path()).expanduser()
        found = found / FILE_NAME if found.is_dir() else found
    except (OSError, RuntimeError):  # it may not be looked at, or nobody knows a home
        raise StoreError(
            f"{text or 'The folder of settings'} cannot be found: name a file of your own in DOORWARD_STORE."
        ) from None
    return StoreLocation(private_files.resolve_path(found), keyring)


def _get_default_path() -> str:
    from platformdirs import user_config_dir  # only where nothing is named

    return f"{user_config_dir('doorward', appauthor=False)}/{FILE_NAME}"


def _read_or_quarantine(where: Path) -> Instances:
    """Under the lock."""
    found, fault = parse_sessions(private_files.read(where))
    if not fault:
        return found
    aside = where.with_name(f"{where.name}.broken-{here.get_now():%Y%m%dT%H%M%S%f}")
    try:
        where.rename(aside)
    except OSError:
        raise StoreError(
            f"{where} is broken ({fault}) and cannot be moved: move it yourself."
        ) from None
    warnings.warn(
        f"{where} is broken ({fault}); it is kept as {aside.name}, log in again",
        StoreWarning,
        stacklevel=4,
    )
    return {}


def _list_entries(instances: Instances) -> list[tuple[str, str, AuthSession]]:
    return [
        (url, user, one) for url, users in instances.items() for user, one in users.sessions.items()
    ]


def _move_secrets_to_keyring(instances: Instances) -> None:
    for url, user, one in _list_entries(instances):
        if not one.in_keyring and not one.is_expired():
            instances[url].sessions[user] = keyring_secrets.save_secrets(url, user, one)


def _build_insertion(url: str, user: str, session: AuthSession) -> Change:
    def insert(instances: Instances) -> None:
        instances.setdefault(url, UserAuthSessions()).sessions[user] = session

    return insert


def _build_removal(url: str, user: str, session: AuthSession) -> Change:
    def remove(instances: Instances) -> None:
        users = instances.get(url, UserAuthSessions()).sessions
        if user in users and users[user].is_same_login(session):
            del users[user]
        if not users:
            instances.pop(url, None)

    return remove


def _build_session(
    token: Secret, expires: datetime | None, refresh_token: Secret | None, user: str
) -> AuthSession:
    if expires is None or expires.tzinfo is None:
        raise StoreError(
            "A token is kept with the time it ends: give `expires` with its time zone."
        )
    return AuthSession(token, expires.astimezone(UTC), refresh_token, username=user)


def _shorten(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
