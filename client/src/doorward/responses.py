"""Parses JSON responses into values.

A missing optional field, or one of another type, becomes empty, because other versions of the
service may send more or less. A response without its essential field raises UnexpectedAnswer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, datetime
from typing import Any

from doorward.errors import UnexpectedAnswer
from doorward.models import Account, ApiKey, Me, NewApiKey, SessionInfo, Tokens, Whoami
from doorward.secret import Secret

JsonMapping = Mapping[str, Any]
MAX_SECONDS = 10**9  # a longer lifetime could not be added to a date


def parse_tokens(document: JsonMapping) -> Tokens:
    """Parse the response to a login or refresh. Raises UnexpectedAnswer."""
    access, lifetime, refresh = (
        to_secret(document.get("access_token")),
        _to_seconds(document.get("expires_in")),
        to_secret(document.get("refresh_token")),
    )
    if (
        access is None
        or not access.is_header_safe
        or lifetime <= 0
        or (refresh and not refresh.is_header_safe)
    ):
        raise UnexpectedAnswer("The login response contains no token. Check the URL.")
    account = document.get("account")
    return Tokens(
        access,
        lifetime,
        refresh,
        _to_seconds(document.get("refresh_expires_in")),
        to_text(document.get("session_id")),
        to_text(account.get("username")) if isinstance(account, dict) else "",
        to_text(document.get("scope")),
        to_secret(document.get("device_token")),
    )


def parse_whoami(document: JsonMapping) -> Whoami:
    """Parse a principal. Raises UnexpectedAnswer if it has no account."""
    return Whoami(
        _require_text(document, "account_id"),
        to_text(document.get("username")),
        to_text(document.get("kind")),
        to_texts(document.get("scopes")),
        to_texts(document.get("roles")),
        to_text(document.get("session_id")),
        to_text(document.get("key_id")),
        parse_time(document.get("expires_at")),
    )


def parse_account(document: JsonMapping) -> Account:
    """Parse an account. Raises UnexpectedAnswer if it has no id."""
    return Account(
        _require_text(document, "id"),
        to_text(document.get("username")),
        to_text(document.get("email")),
        to_text(document.get("name")),
        to_text(document.get("locale")),
        to_text(document.get("timezone")),
        get_object(document, "metadata"),
        parse_time(document.get("created_at")),
        parse_time(document.get("last_login_at")),
    )


def parse_session_info(document: JsonMapping) -> SessionInfo:
    """Parse a session of the account."""
    return SessionInfo(
        to_text(document.get("id")),
        document.get("current") is True,
        to_text(document.get("status")),
        to_text(document.get("device_name")),
        to_text(document.get("user_agent")),
        to_text(document.get("address")),
        to_text(document.get("last_address")),
        parse_time(document.get("created_at")),
        parse_time(document.get("last_used_at")),
        parse_time(document.get("expires_at")),
        parse_time(document.get("ended_at")),
        to_text(document.get("reason")),
    )


def parse_me(document: JsonMapping) -> Me:
    """Parse the response of GET /v1/me. Raises UnexpectedAnswer."""
    return Me(
        parse_account(get_object(document, "account")),
        parse_session_info(get_object(document, "session")),
        to_texts(document.get("roles")),
        to_texts(document.get("scopes")),
        {name: to_text(value) for name, value in get_object(document, "resources").items()},
    )


def parse_api_key(document: JsonMapping) -> ApiKey:
    """Parse an API key without its secret."""
    times = ("created_at", "last_used_at", "expires_at")
    return ApiKey(
        to_text(document.get("id")),
        to_text(document.get("name")),
        to_text(document.get("prefix")),
        to_texts(document.get("scopes")),
        to_text(document.get("status")),
        **{name: parse_time(document.get(name)) for name in times},
    )


def parse_new_api_key(document: JsonMapping) -> NewApiKey:
    """Parse an API key with its secret. Raises UnexpectedAnswer if the secret is missing."""
    times = ("created_at", "expires_at", "old_until")
    return NewApiKey(
        to_text(document.get("id")),
        Secret(_require_text(document, "key")),
        to_text(document.get("name")),
        to_texts(document.get("scopes")),
        **{name: parse_time(document.get(name)) for name in times},
    )


def get_object(document: JsonMapping, name: str) -> JsonMapping:
    """Return the nested object, empty if it is missing."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def list_items(document: JsonMapping) -> Sequence[JsonMapping]:
    """Return the objects in the `items` of a list response."""
    values = document.get("items")
    if not isinstance(values, list):
        return []
    return [value for value in values if isinstance(value, dict)]


def to_text(value: object) -> str:
    """Return the string, empty for any other value."""
    return value if isinstance(value, str) else ""


def to_texts(value: object) -> tuple[str, ...]:
    """Return the strings of a list, empty for any other value."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def parse_time(value: object) -> datetime | None:
    """Parse an RFC 3339 time. Returns None if it is missing or invalid.

    Times in the first and last year are invalid too, because another time zone cannot show them.
    """
    try:
        time = datetime.fromisoformat(to_text(value))
    except ValueError:
        return None
    return time if time.tzinfo and MINYEAR < time.year < MAXYEAR else None


def to_secret(value: object) -> Secret | None:
    """Return a non-empty string as a Secret, None for any other value."""
    return Secret(value) if isinstance(value, str) and value else None


def _require_text(document: JsonMapping, name: str) -> str:
    value = to_text(document.get(name))
    if not value:
        raise UnexpectedAnswer(f"The response has no {name}. Check the URL of the service.")
    return value


def _to_seconds(value: object) -> float:
    """Return a positive number of seconds, 0 for any other value (NaN included)."""
    return float(min(value, MAX_SECONDS)) if isinstance(value, int | float) and value > 0 else 0.0
