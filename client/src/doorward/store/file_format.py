"""The text of a store: the shape of cryosparc-tools, with a few members more, which that leaves alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from doorward.errors import InvalidInput
from doorward.origin import parse_origin
from doorward.secret import Secret
from doorward.store.entries import AuthSession, UserAuthSessions

Instances = dict[str, UserAuthSessions]


class MalformedStore(ValueError):
    """Not the shape of a store. Says where, and never what."""


def normalize_url(url: str) -> str:
    """The service in its one spelling. Plain http is a question of sending, and nothing is sent from here."""
    return str(parse_origin(url, allow_http=True))


def serialize_sessions(instances: Mapping[str, UserAuthSessions]) -> Secret:
    """The text, without what has expired."""
    kept = {
        url: {user: _serialize_entry(one) for user, one in users.list_unexpired().items()}
        for url, users in instances.items()
    }
    return Secret(json.dumps({url: users for url, users in kept.items() if users}, indent=2) + "\n")


def parse_sessions(content: Secret | None) -> tuple[Instances, str]:
    """The sessions, and what is wrong with the content. Nothing is raised: the frames below hold it."""
    try:
        return _parse_instances(content) if content is not None else {}, ""
    except MalformedStore as error:
        return {}, str(error)


def _serialize_entry(session: AuthSession) -> dict[str, object]:
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
        "expires": _format_time(session.expires),
        "refresh_token": refresh,
        "refresh_expires": _format_time(session.refresh_expires)
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


def _format_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _parse_instances(content: Secret) -> Instances:
    try:
        found = json.loads(content.reveal())
    except (ValueError, RecursionError):
        raise MalformedStore("not JSON") from None
    instances: Instances = {}
    for url, users in _require_object(found, "the whole").items():
        mine = instances.setdefault(_parse_url(url), UserAuthSessions()).sessions
        for user, entry in _require_object(users, "a service").items():
            session = _parse_session(_require_object(entry, "a session"), user)
            # Two spellings of one service may stand in a file that others have written.
            if user not in mine or mine[user].expires < session.expires:
                mine[user] = session
    return instances


def _parse_url(url: str) -> str:
    try:
        return normalize_url(url)
    except InvalidInput:
        raise MalformedStore("an address is none") from None


def _parse_session(entry: Mapping[str, Any], user: str) -> AuthSession:
    in_keyring = entry.get("in_keyring") is True
    token = _require_object(entry.get("token"), "a token").get(
        "access_token", "" if in_keyring else None
    )
    refresh = _require_text(entry.get("refresh_token") or "", "a refresh token")
    refreshed = bool(refresh) or (in_keyring and "refresh_token" in entry)
    if not in_keyring and not Secret(_require_text(token, "a token")).is_header_safe:
        raise MalformedStore("a token is none")
    return AuthSession(
        Secret(_require_text(token, "a token")),
        _parse_time(entry.get("expires")),
        Secret(refresh) if refreshed else None,
        _parse_time(entry["refresh_expires"]) if entry.get("refresh_expires") else None,
        _require_text(entry.get("session_id", ""), "a session id"),
        _require_text(entry.get("username", user), "a username"),
        _require_text(entry.get("scope", ""), "a scope"),
        in_keyring,
    )


def _parse_time(text: object) -> datetime:
    try:
        moment = datetime.fromisoformat(_require_text(text, "a time"))
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise MalformedStore("a time is none") from None
    raise MalformedStore("a time has no zone")


def _require_text(found: object, what: str) -> str:
    if not isinstance(found, str):
        raise MalformedStore(f"{what} is no text")
    return found


def _require_object(found: object, what: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise MalformedStore(f"{what} is no object")
    return found
