"""The text of a store: the shape of cryosparc-tools, with a few members more, which that leaves alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from doorward.errors import InvalidInput
from doorward.kept import AuthSession, UserAuthSessions
from doorward.origin import origin_of
from doorward.secret import Secret

Instances = dict[str, UserAuthSessions]


class Malformed(ValueError):
    """Not the shape of a store. Says where, and never what."""


def key_of(url: str) -> str:
    """The service in its one spelling. Plain http is a question of sending, and nothing is sent from here."""
    return str(origin_of(url, allow_http=True))


def text_of(instances: Mapping[str, UserAuthSessions]) -> Secret:
    """The text, without what has expired."""
    kept = {
        url: {user: _entry(one) for user, one in users.living().items()}
        for url, users in instances.items()
    }
    return Secret(json.dumps({url: users for url, users in kept.items() if users}, indent=2) + "\n")


def understood(content: Secret | None) -> tuple[Instances, str]:
    """The sessions, and what is wrong with the content. Nothing is raised: the frames below hold it."""
    try:
        return _instances(content) if content is not None else {}, ""
    except Malformed as error:
        return {}, str(error)


def _entry(session: AuthSession) -> dict[str, object]:
    token = (
        {}
        if session.in_keyring
        else {"access_token": session.token.reveal(), "token_type": "bearer"}
    )
    # Of one in the keyring it is said that there is one, since nobody else may know when it ends.
    refresh = (
        None
        if session.refresh_token is None
        else ""
        if session.in_keyring
        else session.refresh_token.reveal()
    )
    entry: dict[str, object] = {
        "token": token,
        "expires": _moment_text(session.expires),
        "refresh_token": refresh,
        "refresh_expires": _moment_text(session.refresh_expires)
        if session.refresh_expires
        else None,
        "session_id": session.session_id,
        "username": session.username,
        "scope": session.scope,
        "in_keyring": session.in_keyring or None,
    }
    return {
        name: value
        for name, value in entry.items()
        if value is not None and (value != "" or name == "refresh_token")
    }


def _moment_text(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _instances(content: Secret) -> Instances:
    try:
        found = json.loads(content.reveal())
    except (ValueError, RecursionError):
        raise Malformed("not JSON") from None
    instances: Instances = {}
    for url, users in _object(found, "the whole").items():
        mine = instances.setdefault(_key(url), UserAuthSessions()).sessions
        for user, entry in _object(users, "a service").items():
            session = _session(_object(entry, "a session"), user)
            # Two spellings of one service may stand in a file that others have written.
            if user not in mine or mine[user].expires < session.expires:
                mine[user] = session
    return instances


def _key(url: str) -> str:
    try:
        return key_of(url)
    except InvalidInput:
        raise Malformed("an address is none") from None


def _session(entry: Mapping[str, Any], user: str) -> AuthSession:
    in_keyring = entry.get("in_keyring") is True
    token = _object(entry.get("token"), "a token").get("access_token", "" if in_keyring else None)
    refresh = _text(entry.get("refresh_token") or "", "a refresh token")
    refreshed = bool(refresh) or (in_keyring and "refresh_token" in entry)
    if not in_keyring and not Secret(_text(token, "a token")).sendable:
        raise Malformed("a token is none")
    return AuthSession(
        Secret(_text(token, "a token")),
        _moment(entry.get("expires")),
        Secret(refresh) if refreshed else None,
        _moment(entry["refresh_expires"]) if entry.get("refresh_expires") else None,
        _text(entry.get("session_id", ""), "a session id"),
        _text(entry.get("username", user), "a username"),
        _text(entry.get("scope", ""), "a scope"),
        in_keyring,
    )


def _moment(text: object) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(text, "a time"))
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Malformed("a time is none") from None
    raise Malformed("a time has no zone")


def _text(found: object, what: str) -> str:
    if not isinstance(found, str):
        raise Malformed(f"{what} is no text")
    return found


def _object(found: object, what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise Malformed(f"{what} is no object")
    return found
