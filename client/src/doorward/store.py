"""Sessions of one person at many services, in one file: instance → user → session, the shape that cryosparc-tools has.

{"https://auth.example.com": {"ann": {"token": {"access_token": "…", "token_type": "bearer"}, "expires": "…", "refresh_token": "…", …}}}
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from doorward import here, private_files
from doorward.errors import InvalidInput, StoreError, StoreWarning
from doorward.origin import origin_of
from doorward.secret import Secret

FILE_NAME = "sessions.json"
Change = Callable[["InstanceAuthSessions"], None]


class Malformed(ValueError):
    """Not the shape of a store."""


@dataclass(frozen=True, slots=True)
class AuthSession:
    """One session as it is kept. `expires` is when the access token ends, `refresh_expires` when the session does if nobody uses it."""

    token: Secret
    expires: datetime
    refresh_token: Secret | None = None
    refresh_expires: datetime | None = None
    session_id: str = ""
    username: str = ""
    scope: str = ""

    def expired(self, now: datetime | None = None) -> bool:
        """Is it of no use any more?"""
        end = self.refresh_expires if self.refresh_token and self.refresh_expires else self.expires
        return end <= (now or here.now())


@dataclass(slots=True)
class UserAuthSessions:
    """The sessions at one service, one for each user."""

    sessions: dict[str, AuthSession] = field(default_factory=dict)

    def find(self, user: str | None = None) -> AuthSession | None:
        """The user's session, or the one that lasts longest; never one that has expired."""
        living = {name: one for name, one in self.sessions.items() if not one.expired()}
        if user is not None:
            return living.get(user)
        return max(living.values(), key=lambda one: one.refresh_expires or one.expires, default=None)

    def users(self) -> list[str]:
        """Whose sessions are alive."""
        return [name for name, one in self.sessions.items() if not one.expired()]


class InstanceAuthSessions:
    """All sessions of a store. What is inserted or removed counts for this object at once, and for the file with `save()`.

    `save()` repeats the changes on what the file holds by then, under its lock: many processes may save and none loses anything.
    """

    def __init__(self, instances: Mapping[str, UserAuthSessions] | None = None, *, path: Path | None = None) -> None:
        self.instances: dict[str, UserAuthSessions] = {_key(url): users for url, users in (instances or {}).items()}
        self.path = path
        self._changes: list[Change] = []

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> InstanceAuthSessions:
        """What the file holds; nothing where there is none. Without a path: DOORWARD_STORE, else the user's folder of settings.

        A file that cannot be understood is set aside under another name, with a StoreWarning. Raises StoreError.
        """
        where, _ = _located(path)
        found, fault = _understood(private_files.read(where) if where.parent.exists() else None)
        if not fault:
            return cls(found, path=where)
        with _held(where):  # looked at once more, since somebody may just have mended it
            return _read_or_set_aside(where)

    def save(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write the changes down. Raises StoreError, and then the file is as it was."""
        where, _ = _located(path or self.path)
        if where != self.path:
            self._changes = [_inserted(url, user, one) for url, users in self.instances.items() for user, one in users.sessions.items()]
        with _held(where):
            merged = _read_or_set_aside(where)
            for change in self._changes:
                change(merged)
            private_files.sweep(where)
            private_files.write(where, _text(merged.instances))
        self.instances, self.path, self._changes = merged.instances, where, []

    def find(self, url: str, user: str | None = None) -> AuthSession | None:
        """The session of the user there, or the one that lasts longest; never one that has expired."""
        users = self.instances.get(_key(url))
        return users.find(user) if users else None

    def name_of(self, url: str, session: AuthSession) -> str:
        """Under which name the session is kept."""
        users = self.instances.get(_key(url), UserAuthSessions()).sessions
        return next((name for name, one in users.items() if one == session), session.username)

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
        session = token if isinstance(token, AuthSession) else _bare(token, expires, refresh_token, user)
        change = _inserted(_key(url), user, session)
        change(self)
        self._changes.append(change)
        return session

    def remove(self, url: str, user: str | None = None) -> list[AuthSession]:
        """Forget the user's session there, or all there are. One that another process has put there since is left alone."""
        users = self.instances.get(_key(url), UserAuthSessions()).sessions
        gone = {name: one for name, one in users.items() if user is None or name == user}
        for name, one in gone.items():
            change = _removed(_key(url), name, one)
            change(self)
            self._changes.append(change)
        return list(gone.values())


def store_path() -> Path:
    """Where sessions are kept: DOORWARD_STORE as it is now, else the user's folder of settings."""
    return _located(None)[0]


@contextmanager
def held_for_refresh(path: Path, url: str, user: str) -> Iterator[None]:
    """One process at a time refreshes a session. A lock for each, so that the file is free while the service is asked."""
    where, ours = _located(path)
    private_files.prepare_folder(where.parent, ours=ours)
    with private_files.locked(where.with_name(f"{where.name}.{_short(f'{_key(url)} {user}')}.lock")):
        yield


@contextmanager
def _held(where: Path) -> Iterator[None]:
    private_files.prepare_folder(where.parent, ours=_all_ours(where))
    with private_files.locked(where.with_name(f"{where.name}.lock")):
        yield


def _located(path: str | os.PathLike[str] | None) -> tuple[Path, bool]:
    """The file, and whether its folder is ours alone."""
    named = os.fspath(path) if path is not None else here.variable("DOORWARD_STORE")
    if not named:
        from platformdirs import user_config_dir  # only where nothing is named

        named = f"{user_config_dir('doorward', appauthor=False)}/{FILE_NAME}"
    found = Path(named).expanduser()
    if found.is_dir():
        found /= FILE_NAME
    where = private_files.real_path(found)
    return where, _all_ours(where)


def _all_ours(where: Path) -> bool:
    """Is nothing in the folder but the store?"""
    try:
        names = [one.name for one in where.parent.iterdir()]
    except OSError:
        return True
    return all(name.removeprefix(".").startswith(where.name) for name in names)


def _read_or_set_aside(where: Path) -> InstanceAuthSessions:
    """Under the lock."""
    found, fault = _understood(private_files.read(where))
    if not fault:
        return InstanceAuthSessions(found, path=where)
    aside = where.with_name(f"{where.name}.broken-{here.now():%Y%m%dT%H%M%S%f}")
    try:
        where.rename(aside)
    except OSError:
        raise StoreError(f"{where} is broken ({fault}) and cannot be moved: move it yourself.") from None
    warnings.warn(f"{where} is broken ({fault}); it is kept as {aside.name}, log in again", StoreWarning, stacklevel=4)
    return InstanceAuthSessions(path=where)


def _understood(content: Secret | None) -> tuple[dict[str, UserAuthSessions], str]:
    """The sessions, and what is wrong with the content. Nothing is raised: the frames below hold it."""
    try:
        return _instances(content) if content is not None else {}, ""
    except Malformed as error:
        return {}, str(error)


def _inserted(url: str, user: str, session: AuthSession) -> Change:
    def change(sessions: InstanceAuthSessions) -> None:
        sessions.instances.setdefault(url, UserAuthSessions()).sessions[user] = session

    return change


def _removed(url: str, user: str, session: AuthSession) -> Change:
    def change(sessions: InstanceAuthSessions) -> None:
        users = sessions.instances.get(url, UserAuthSessions()).sessions
        found = users.get(user)
        if found is not None and (found.session_id, not found.session_id and found.token) == (
            session.session_id,
            not session.session_id and session.token,
        ):
            del users[user]
        if not users:
            sessions.instances.pop(url, None)

    return change


def _bare(token: Secret | str, expires: datetime | None, refresh_token: Secret | None, user: str) -> AuthSession:
    if expires is None or expires.tzinfo is None:
        raise StoreError("A token is kept with the time it ends, and that with its time zone.")
    return AuthSession(Secret.of(token), expires.astimezone(UTC), refresh_token, username=user)


def _key(url: str) -> str:
    # Plain http is a question of sending, and nothing is sent from here.
    return str(origin_of(url, allow_http=True))


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _text(instances: Mapping[str, UserAuthSessions]) -> Secret:
    kept = {url: {user: _entry(one) for user, one in users.sessions.items() if not one.expired()} for url, users in instances.items()}
    return Secret(json.dumps({url: users for url, users in kept.items() if users}, indent=2) + "\n")


def _entry(session: AuthSession) -> dict[str, object]:
    entry: dict[str, object] = {
        "token": {"access_token": session.token.reveal(), "token_type": "bearer"},
        "expires": _moment_text(session.expires),
        "refresh_token": session.refresh_token.reveal() if session.refresh_token else None,
        "refresh_expires": _moment_text(session.refresh_expires) if session.refresh_expires else None,
        "session_id": session.session_id,
        "username": session.username,
        "scope": session.scope,
    }
    return {name: value for name, value in entry.items() if value not in (None, "")}


def _moment_text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _instances(content: Secret) -> dict[str, UserAuthSessions]:
    """Raises Malformed, which says where and never what."""
    try:
        found = json.loads(content.reveal())
    except (ValueError, RecursionError):
        raise Malformed("not JSON") from None
    instances: dict[str, UserAuthSessions] = {}
    for url, users in _object(found, "the whole").items():
        try:
            key = _key(url)
        except InvalidInput:
            raise Malformed("an address that is none") from None
        mine = instances.setdefault(key, UserAuthSessions()).sessions
        for user, entry in _object(users, key).items():
            session = _session(_object(entry, key), user)
            if user not in mine or mine[user].expires < session.expires:
                mine[user] = session
    return instances


def _session(entry: Mapping[str, Any], user: str) -> AuthSession:
    token = _object(entry.get("token"), "token").get("access_token")
    refresh = entry.get("refresh_token")
    texts = {name: entry.get(name, "") for name in ("session_id", "username", "scope")}
    if not isinstance(token, str) or not isinstance(refresh, str | None) or not all(isinstance(text, str) for text in texts.values()):
        raise Malformed("a session without a token")
    session = AuthSession(
        Secret(token),
        _moment(entry.get("expires")),
        Secret(refresh) if refresh else None,
        _moment(entry["refresh_expires"]) if entry.get("refresh_expires") else None,
        **texts,
    )
    return session if session.username else replace(session, username=user)


def _moment(text: object) -> datetime:
    try:
        moment = datetime.fromisoformat(text if isinstance(text, str) else "")
    except ValueError:
        raise Malformed("a time that is none") from None
    if moment.tzinfo is None:
        raise Malformed("a time without its zone")
    return moment.astimezone(UTC)


def _object(found: object, what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise Malformed(f"{what} is no object")
    return found
