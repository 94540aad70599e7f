"""The JSON format of the session store.

It is the format of cryosparc-tools with additional members, which cryosparc-tools ignores:

{"https://auth.example.com": {"ann": {
    "token": {"access_token": "…", "token_type": "bearer"}, "expires": "…", "refresh_token": "…"}}}
"""

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
    """The content is not a session store. The message names the place, never the value."""


def normalize_url(url: str) -> str:
    """Return the normalized URL. Plain HTTP is accepted, because nothing is sent from here."""
    return str(parse_origin(url, allow_http=True))


def serialize_sessions(instances: Mapping[str, UserAuthSessions]) -> Secret:
    """Return the content of the file, without expired sessions."""
    entries = {
        url: {user: _serialize_entry(entry) for user, entry in users.list_unexpired().items()}
        for url, users in instances.items()
    }
    content = {url: users for url, users in entries.items() if users}
    return Secret(json.dumps(content, indent=2) + "\n")


def parse_sessions(content: Secret | None) -> tuple[Instances, str]:
    """Return the sessions and an empty string, or no sessions and the reason if it is malformed.

    Nothing is raised, because the frames below hold the content.
    """
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
    refresh_expires = session.refresh_expires
    entry: dict[str, object] = {
        "token": token,
        "expires": _format_time(session.expires),
        "refresh_token": _serialize_refresh_token(session),
        "refresh_expires": _format_time(refresh_expires) if refresh_expires else None,
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


def _serialize_refresh_token(session: AuthSession) -> str | None:
    if session.refresh_token is None:
        return None
    # An empty string records that the keyring has a refresh token, on which the expiry depends.
    return "" if session.in_keyring else session.refresh_token.reveal()


def _format_time(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _parse_instances(content: Secret) -> Instances:
    try:
        found = json.loads(content.reveal())
    except (ValueError, RecursionError):
        raise MalformedStore("not JSON") from None
    instances: Instances = {}
    for url, users in _require_object(found, "the file").items():
        sessions = instances.setdefault(_parse_url(url), UserAuthSessions()).sessions
        for user, entry in _require_object(users, "a service").items():
            session = _parse_session(_require_object(entry, "a session"), user)
            # Files of other programs may contain one service under two spellings of its URL.
            if user not in sessions or sessions[user].expires < session.expires:
                sessions[user] = session
    return instances


def _parse_url(url: str) -> str:
    try:
        return normalize_url(url)
    except InvalidInput:
        raise MalformedStore("invalid URL") from None


def _parse_session(entry: Mapping[str, Any], user: str) -> AuthSession:
    in_keyring = entry.get("in_keyring") is True
    token = _require_object(entry.get("token"), "a token").get(
        "access_token", "" if in_keyring else None
    )
    refresh = _require_text(entry.get("refresh_token") or "", "a refresh token")
    has_refresh_token = bool(refresh) or (in_keyring and "refresh_token" in entry)
    if not in_keyring and not Secret(_require_text(token, "a token")).is_header_safe:
        raise MalformedStore("invalid token")
    return AuthSession(
        Secret(_require_text(token, "a token")),
        _parse_time(entry.get("expires")),
        Secret(refresh) if has_refresh_token else None,
        _parse_time(entry["refresh_expires"]) if entry.get("refresh_expires") else None,
        _require_text(entry.get("session_id", ""), "a session id"),
        _require_text(entry.get("username", user), "a username"),
        _require_text(entry.get("scope", ""), "a scope"),
        in_keyring,
    )


def _parse_time(text: object) -> datetime:
    try:
        time = datetime.fromisoformat(_require_text(text, "a time"))
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise MalformedStore("invalid time") from None
    raise MalformedStore("time without time zone")


def _require_text(found: object, name: str) -> str:
    if not isinstance(found, str):
        raise MalformedStore(f"{name} is not a string")
    return found


def _require_object(found: object, name: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise MalformedStore(f"{name} is not an object")
    return found
