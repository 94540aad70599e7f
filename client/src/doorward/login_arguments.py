"""The arguments of the login methods: what to ask a person for, and how values are checked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from doorward.errors import InvalidInput
from doorward.secret import Secret

Seconds = float | timedelta

ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "with_password": {
        "username": "username or email address",
        "password": "password",
        "scope": "scopes, separated by spaces; default: all that your roles allow",
        "expires_in": "session lifetime in seconds",
        "device_name": "name of this login in the list of sessions",
        "keep": "log in again automatically when the session ends",
    },
    "with_session_id": {
        "device_code": "device code of a device login that was started before",
        "wait": "wait until the login is approved or denied",
        "timeout": "maximum wait in seconds",
    },
    "on_another_device": {
        "client_name": "program name shown to the approver",
        "login_message": "purpose shown to the approver",
        "scope": "scopes, separated by spaces",
        "username": "only user who may approve; default: anyone who has the code",
        "expires_in": "session lifetime in seconds",
        "timeout": "maximum wait in seconds",
    },
    "with_api_key": {"key": "API key"},
    "with_token": {"token": "access token"},
    "from_token_file": {"path": "path of the token file"},
    "from_store": {"url": "URL of the service", "user": "username"},
}
REQUIRED_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "with_password": ("username", "password"),
    "with_session_id": ("device_code",),
    "on_another_device": (),
    "with_api_key": ("key",),
    "with_token": ("token",),
    "from_token_file": ("path",),
    "from_store": (),
}
SECRET_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "with_password": ("password",),
    "with_session_id": ("device_code",),
    "on_another_device": (),
    "with_api_key": ("key",),
    "with_token": ("token",),
    "from_token_file": (),
    "from_store": (),
}


def require_header_safe(secret: Secret, field: str) -> None:
    """Raise InvalidInput if the secret cannot be sent in a header."""
    if not secret.is_header_safe:
        reason = "is empty or contains invalid characters"
        raise InvalidInput(
            f"The {field} {reason}. Pass it exactly as issued.", errors={field: [reason]}
        )


def drop_none(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body without the fields that are None."""
    return {name: value for name, value in body.items() if value is not None}


def to_seconds(length: Seconds | None, default: float) -> float:
    """Return the length in seconds, the default for None."""
    if length is None:
        return default
    return length.total_seconds() if isinstance(length, timedelta) else float(length)


def to_whole_seconds(length: Seconds | None) -> int | None:
    """Return the length in whole seconds, None for None."""
    return None if length is None else round(to_seconds(length, 0))
