"""The session store: one file with the sessions of all services and users."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from doorward import environment
from doorward.errors import InvalidInput, NotLoggedInError, StoreError, StoreWarning
from doorward.secret import Secret
from doorward.store import keyring_secrets, private_files
from doorward.store.entries import AuthSession, UserAuthSessions
from doorward.store.file_format import Instances, normalize_url, parse_sessions, serialize_sessions
from doorward.store.location import StoreLocation, resolve_location

Change = Callable[[Instances], None]


class InstanceAuthSessions:
    """All sessions in a store, by service URL and username.

    `insert` and `remove` change this object at once, and the file with `save()`, which applies the
    changes to the current content of the file under a lock. So processes that save at the same
    time do not lose changes.
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
        return f"<InstanceAuthSessions of {', '.join(self.instances) or 'no service'}>"

    @classmethod
    def load(
        cls, path: str | os.PathLike[str] | StoreLocation | None = None
    ) -> InstanceAuthSessions:
        """Load the store from the path, DOORWARD_STORE, or the user's config folder.

        A missing file is an empty store. A malformed file is renamed, with a StoreWarning. Raises
        StoreError.
        """
        location = resolve_location(path)
        instances, fault = parse_sessions(private_files.read(location.path))
        if not fault:
            return cls(instances, location=location)
        with location.hold_lock():  # read again, because another process may have repaired it
            return cls(_read_or_quarantine(location.path), location=location)

    def save(self, path: str | os.PathLike[str] | StoreLocation | None = None) -> None:
        """Write the changes to the file. Raises StoreError, and then the file is unchanged.

        A path other than that of `load` receives all sessions.
        """
        location = resolve_location(path or self.location)
        changes = (
            self._changes
            if location == self.location
            else [_build_insertion(*entry) for entry in _list_entries(self.instances)]
        )
        with location.hold_lock():
            merged = _read_or_quarantine(location.path)
            in_keyring = _list_keyring_entries(merged)
            for change in changes:
                change(merged)
            if location.uses_keyring:
                _move_secrets_to_keyring(merged)
            private_files.remove_leftovers(location.path)
            private_files.write(location.path, serialize_sessions(merged))
            for url, user in in_keyring - _list_keyring_entries(merged, only_unexpired=True):
                keyring_secrets.delete_secrets(url, user)
        self.instances, self.location, self._changes = merged, location, []

    def find(self, url: str, user: str | None = None) -> AuthSession | None:
        """Find the session of the user, or the one that expires last. Skips expired sessions."""
        key, name = normalize_url(url), self.find_user(url, user)
        if name is None:
            return None
        session = self.instances[key].sessions[name]
        return keyring_secrets.load_secrets(key, name, session) if session.in_keyring else session

    def find_user(self, url: str, user: str | None = None) -> str | None:
        """Return the username of the session that `find` returns."""
        users = self.instances.get(normalize_url(url))
        return users.find_user(user) if users else None

    def insert(
        self,
        url: str,
        user: str,
        token: AuthSession | Secret | str,
        expires: datetime | None = None,
        *,
        refresh_token: Secret | None = None,
    ) -> AuthSession:
        """Add or replace the session of the user.

        A bare token needs `expires` with a time zone. Raises StoreError.
        """
        session = (
            token
            if isinstance(token, AuthSession)
            else _build_session(Secret.wrap(token), expires, refresh_token, user)
        )
        if not session.token.is_header_safe and not session.in_keyring:
            raise StoreError(
                "The token is empty or contains invalid characters. Pass it exactly as issued."
            )
        self._apply(_build_insertion(normalize_url(url), user, session))
        return session

    def remove(self, url: str, user: str | None = None) -> list[AuthSession]:
        """Remove the session of the user, or all sessions at the service.

        A session that another process has saved since `load` stays in the file.
        """
        users = self.instances.get(normalize_url(url), UserAuthSessions()).sessions
        removed = {name: one for name, one in users.items() if user is None or name == user}
        for name, session in removed.items():
            self._apply(_build_removal(normalize_url(url), name, session))
        return list(removed.values())

    def require_only_url(self) -> str:
        """Return the URL of the only service with an unexpired session.

        Raises NotLoggedInError if there is none, and InvalidInput if there are several.
        """
        urls = [url for url, users in self.instances.items() if users.list_unexpired()]
        if len(urls) == 1:
            return urls[0]
        if not urls:
            raise NotLoggedInError("You are not logged in. Log in first.")
        raise InvalidInput(
            f"There are sessions at {', '.join(urls)}. Pass url, or set DOORWARD_URL.",
            errors={"url": ["is missing"]},
        )

    def _apply(self, change: Change) -> None:
        change(self.instances)
        self._changes.append(change)


def _read_or_quarantine(path: Path) -> Instances:
    """Read the file, or rename it if it is malformed. The caller holds the lock."""
    instances, fault = parse_sessions(private_files.read(path))
    if not fault:
        return instances
    target = path.with_name(f"{path.name}.broken-{environment.get_now():%Y%m%dT%H%M%S%f}")
    try:
        path.rename(target)
    except OSError:
        raise StoreError(
            f"{path} is malformed ({fault}) and cannot be renamed. Move it yourself."
        ) from None
    warnings.warn(
        f"{path} is malformed ({fault}) and was renamed to {target.name}; log in again",
        StoreWarning,
        stacklevel=4,
    )
    return {}


def _list_entries(instances: Instances) -> list[tuple[str, str, AuthSession]]:
    return [
        (url, user, session)
        for url, users in instances.items()
        for user, session in users.sessions.items()
    ]


def _list_keyring_entries(
    instances: Instances, *, only_unexpired: bool = False
) -> set[tuple[str, str]]:
    return {
        (url, user)
        for url, user, session in _list_entries(instances)
        if session.in_keyring and not (only_unexpired and session.is_expired())
    }


def _move_secrets_to_keyring(instances: Instances) -> None:
    for url, user, session in _list_entries(instances):
        if not session.in_keyring and not session.is_expired():
            instances[url].sessions[user] = keyring_secrets.save_secrets(url, user, session)


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
        raise StoreError("A token needs its expiry. Pass `expires` with a time zone.")
    return AuthSession(token, expires.astimezone(UTC), refresh_token, username=user)
