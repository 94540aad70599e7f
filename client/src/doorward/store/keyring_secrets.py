"""The secrets of kept sessions in the keyring of the system, for whoever asks for it (`pip install doorward[keyring]`)."""

from __future__ import annotations

import json
from dataclasses import replace
from types import ModuleType

from doorward.errors import StoreError
from doorward.secret import Secret
from doorward.store.entries import AuthSession

SERVICE_NAME = "doorward"
UNSAFE_BACKENDS = (
    "fail",
    "null",
    "Plaintext",
)  # none at all, one that forgets, one that writes a readable file


def save_secrets(url: str, user: str, session: AuthSession) -> AuthSession:
    """The session without its secrets, which are in the keyring now. Raises StoreError."""
    ring, failed = require_keyring(), ""
    try:
        ring.set_password(SERVICE_NAME, _get_entry_name(url, user), _serialize(session).reveal())
    except Exception as error:
        failed = type(error).__name__
    if failed:
        raise _build_error(failed)
    return replace(
        session,
        token=Secret(""),
        refresh_token=session.refresh_token and Secret(""),
        in_keyring=True,
    )


def load_secrets(url: str, user: str, session: AuthSession) -> AuthSession | None:
    """The session with its secrets, None when the keyring has them no more. Raises StoreError."""
    ring, found, failed = require_keyring(), None, ""
    try:
        text = ring.get_password(SERVICE_NAME, _get_entry_name(url, user))
        found = None if text is None else Secret(text)
        del text
    except Exception as error:
        failed = type(error).__name__
    if failed:
        raise _build_error(failed)
    return None if found is None else _with_secrets(session, found)


def delete_secrets(url: str, user: str) -> None:
    """Forget the secrets. What is gone already is no fault."""
    ring = require_keyring()
    try:
        ring.delete_password(SERVICE_NAME, _get_entry_name(url, user))
    except ring.errors.PasswordDeleteError:
        return
    except Exception as error:
        failed = type(error).__name__
    else:
        return
    raise _build_error(failed)


def require_keyring() -> ModuleType:
    """What keeps them here. Raises StoreError where nothing does that is safe."""
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise StoreError(
            "The keyring needs a package more: pip install doorward[keyring], or name a file in DOORWARD_STORE."
        ) from None
    backend = keyring.get_keyring()
    kind = f"{type(backend).__module__}.{type(backend).__qualname__}"
    if any(word in kind for word in UNSAFE_BACKENDS):
        raise StoreError(
            f"There is no keyring that is safe here ({kind}): start one, or name a file in DOORWARD_STORE."
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
    return StoreError(
        f"The keyring did not do what was asked ({kind}): unlock it, or name a file in DOORWARD_STORE."
    )
