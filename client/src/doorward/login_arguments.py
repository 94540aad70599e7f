"""What each way of logging in wants to know, for whoever asks a person for it."""

from __future__ import annotations

from collections.abc import Mapping

ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "with_password": {
        "username": "username or address",
        "password": "password",
        "scope": "scopes to have, separated by spaces; without it, all that one's roles allow",
        "expires_in": "wanted length of the session in seconds",
        "device_name": "what to call this login in the list of sessions",
        "keep": "log in again by itself when the session is over",
    },
    "with_session_id": {
        "device_code": "secret code of a login that was asked for before",
        "wait": "wait until somebody has decided",
        "timeout": "how many seconds to wait at most",
    },
    "on_another_device": {
        "client_name": "what the program is called, for whoever approves",
        "login_message": "what it is for, for whoever approves",
        "scope": "scopes to have, separated by spaces",
        "username": "who may approve; without it, anybody who has the code",
        "expires_in": "wanted length of the session in seconds",
        "timeout": "how many seconds to wait at most",
    },
    "with_api_key": {"key": "API key"},
    "with_token": {"token": "access token"},
    "from_token_file": {"path": "token file"},
    "from_store": {"url": "address of the service", "user": "whose session"},
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
