"""From the JSON of an answer to its value. What is missing or of another kind is empty: newer services may say less or more.

Not so what the answer is about: an answer without that is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, datetime
from typing import Any

from doorward.errors import UnexpectedAnswer
from doorward.models import Account, ApiKey, Me, NewApiKey, SessionInfo, Tokens, Whoami
from doorward.secret import Secret

JsonMapping = Mapping[str, Any]
MAX_SECONDS = 10**9  # seconds; what claims more could be added to no date


def parse_tokens(found: JsonMapping) -> Tokens:
    """Raises UnexpectedAnswer."""
    access, life, refresh = (
        to_secret(found.get("access_token")),
        _to_seconds(found.get("expires_in")),
        to_secret(found.get("refresh_token")),
    )
    if (
        access is None
        or not access.is_header_safe
        or life <= 0
        or (refresh and not refresh.is_header_safe)
    ):
        raise UnexpectedAnswer(
            "The answer to the login holds no token: check the address of the service."
        )
    account = found.get("account")
    return Tokens(
        access,
        life,
        refresh,
        _to_seconds(found.get("refresh_expires_in")),
        to_text(found.get("session_id")),
        to_text(account.get("username")) if isinstance(account, dict) else "",
        to_text(found.get("scope")),
        to_secret(found.get("device_token")),
    )


def parse_whoami(found: JsonMapping) -> Whoami:
    """Raises UnexpectedAnswer for one about nobody: it is no yes."""
    return Whoami(
        _require_text(found, "account_id"),
        to_text(found.get("username")),
        to_text(found.get("kind")),
        to_texts(found.get("scopes")),
        to_texts(found.get("roles")),
        to_text(found.get("session_id")),
        to_text(found.get("key_id")),
        parse_time(found.get("expires_at")),
    )


def parse_account(found: JsonMapping) -> Account:
    """Raises UnexpectedAnswer."""
    return Account(
        _require_text(found, "id"),
        to_text(found.get("username")),
        to_text(found.get("email")),
        to_text(found.get("name")),
        to_text(found.get("locale")),
        to_text(found.get("timezone")),
        get_object(found, "metadata"),
        parse_time(found.get("created_at")),
        parse_time(found.get("last_login_at")),
    )


def parse_session_info(found: JsonMapping) -> SessionInfo:
    return SessionInfo(
        to_text(found.get("id")),
        found.get("current") is True,
        to_text(found.get("status")),
        to_text(found.get("device_name")),
        to_text(found.get("user_agent")),
        to_text(found.get("address")),
        to_text(found.get("last_address")),
        parse_time(found.get("created_at")),
        parse_time(found.get("last_used_at")),
        parse_time(found.get("expires_at")),
        parse_time(found.get("ended_at")),
        to_text(found.get("reason")),
    )


def parse_me(found: JsonMapping) -> Me:
    return Me(
        parse_account(get_object(found, "account")),
        parse_session_info(get_object(found, "session")),
        to_texts(found.get("roles")),
        to_texts(found.get("scopes")),
        {name: to_text(value) for name, value in get_object(found, "resources").items()},
    )


def parse_api_key(found: JsonMapping) -> ApiKey:
    times = ("created_at", "last_used_at", "expires_at")
    return ApiKey(
        to_text(found.get("id")),
        to_text(found.get("name")),
        to_text(found.get("prefix")),
        to_texts(found.get("scopes")),
        to_text(found.get("status")),
        **{name: parse_time(found.get(name)) for name in times},
    )


def parse_new_api_key(found: JsonMapping) -> NewApiKey:
    """Raises UnexpectedAnswer for one without the key."""
    times = ("created_at", "expires_at", "old_until")
    return NewApiKey(
        to_text(found.get("id")),
        Secret(_require_text(found, "key")),
        to_text(found.get("name")),
        to_texts(found.get("scopes")),
        **{name: parse_time(found.get(name)) for name in times},
    )


def get_object(found: JsonMapping, name: str) -> JsonMapping:
    """An object within the answer."""
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def list_items(found: JsonMapping) -> Sequence[JsonMapping]:
    """The objects of a list."""
    values = found.get("items")
    return (
        [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
    )


def to_text(value: object) -> str:
    """The text, empty where there is none."""
    return value if isinstance(value, str) else ""


def to_texts(value: object) -> tuple[str, ...]:
    """The texts of a list."""
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def parse_time(value: object) -> datetime | None:
    """A time of RFC 3339, None where there is none, or only one at the end of time, which no other zone might have."""
    try:
        found = datetime.fromisoformat(to_text(value))
    except ValueError:
        return None
    return found if found.tzinfo and MINYEAR < found.year < MAXYEAR else None


def to_secret(value: object) -> Secret | None:
    """A text that is one, None where there is none."""
    return Secret(value) if isinstance(value, str) and value else None


def _require_text(found: JsonMapping, name: str) -> str:
    value = to_text(found.get(name))
    if not value:
        raise UnexpectedAnswer(f"The answer has no {name}: check the address of the service.")
    return value


def _to_seconds(value: object) -> float:
    """A length; 0 for what is no number above it, as NaN is none."""
    return float(min(value, MAX_SECONDS)) if isinstance(value, int | float) and value > 0 else 0.0
