"""Keeps the secrets of stored sessions in the system keyring (`doorward[keyring]`)."""

from __future__ import annotations

import json
from dataclasses import replace
from types import ModuleType

from doorward.errors import StoreError
from doorward.secret import Secret
from doorward.store.entries import AuthSession

SERVICE_NAME = "doorward"
# Backends that do not work, forget everything, or write a readable file.
UNSAFE_BACKENDS = ("fail", "null", "Plaintext")


def save_secrets(url: str, user: str, session: AuthSession) -> AuthSession:
    """Move the secrets to the keyring and return the session without them. Raises StoreError."""
    keyring, failure = require_keyring(), ""
    try:
        keyring.set_password(SERVICE_NAME, _get_entry_name(url, user), _serialize(session).reveal())
    except Exception as error:
        failure = type(error).__name__
    if failure:
        raise _build_error(failure)
    return replace(
        session,
        token=Secret(""),
        refresh_token=session.refresh_token and Secret(""),
        in_keyring=True,
    )


def load_secrets(url: str, user: str, session: AuthSession) -> AuthSession | None:
    """Return the session with its secrets, None if the keyring has none. Raises StoreError."""
    keyring, found, failure = require_keyring(), None, ""
    try:
        text = keyring.get_password(SERVICE_NAME, _get_entry_name(url, user))
        found = None if text is None else Secret(text)
        del text
    except Exception as error:
        failure = type(error).__name__
    if failure:
        raise _build_error(failure)
    return None if found is None else _with_secrets(session, found)


def delete_secrets(url: str, user: str) -> None:
    """Delete the secrets from the keyring, if they are there. Raises StoreError."""
    keyring = require_keyring()
    try:
        keyring.delete_password(SERVICE_NAME, _get_entry_name(url, user))
    except keyring.errors.PasswordDeleteError:
        return
    except Exception as error:
        failure = type(error).__name__
    else:
        return
    raise _build_error(failure)


def require_keyring() -> ModuleType:
    """Return the keyring library. Raises StoreError if there is no safe backend."""
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise StoreError(
            "The keyring package is missing. Run: pip install 'doorward[keyring]',"
            " or set DOORWARD_STORE to a file."
        ) from None
    backend = keyring.get_keyring()
    kind = f"{type(backend).__module__}.{type(backend).__qualname__}"
    if any(word in kind for word in UNSAFE_BACKENDS):
        raise StoreError(
            f"There is no safe keyring on this system ({kind})."
            " Start one, or set DOORWARD_STORE to a file."
        )
    return keyring


def _get_entry_name(url: str, user: str) -> str:
    return f"{user} at {url}"


def _serialize(session: AuthSession) -> Secret:
    refresh = session.refresh_token.reveal() if session.refresh_token else None
    return Secret(json.dumps({"access_token": session.token.reveal(), "refresh_token": refresh}))


def _with_secrets(session: AuthSession, found: Secret) -> AuthSession | None:
    try:
        parts = json.loads(found.reveal())
    except ValueError:
        return None
    token, refresh = (
        (parts.get(name) for name in ("access_token", "refresh_token"))
        if isinstance(parts, dict)
        else (None, None)
    )
    if not isinstance(token, str) or not Secret(token).is_header_safe:
        return None
    return replace(
        session,
        token=Secret(token),
        refresh_token=Secret(refresh) if isinstance(refresh, str) else None,
    )


def _build_error(kind: str) -> StoreError:
    return StoreError(f"The keyring failed ({kind}). Unlock it, or set DOORWARD_STORE to a file.")
