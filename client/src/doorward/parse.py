"""From the JSON of an answer to its value. What is missing or of another kind is empty: newer services may say less or more.

Not so what the answer is about: an answer without that is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import MAXYEAR, MINYEAR, datetime
from typing import Any

from doorward.answers import Account, ApiKey, Me, NewApiKey, SessionInfo, Tokens, Whoami
from doorward.errors import UnexpectedAnswer
from doorward.secret import Secret

Found = Mapping[str, Any]
LONGEST = 10**9  # seconds; what claims more could be added to no date


def tokens(found: Found) -> Tokens:
    """Raises UnexpectedAnswer."""
    access, life, refresh = (
        secret(found.get("access_token")),
        _seconds(found.get("expires_in")),
        secret(found.get("refresh_token")),
    )
    if access is None or not access.sendable or life <= 0 or (refresh and not refresh.sendable):
        raise UnexpectedAnswer(
            "The answer to the login holds no token: check the address of the service."
        )
    account = found.get("account")
    return Tokens(
        access,
        life,
        refresh,
        _seconds(found.get("refresh_expires_in")),
        text(found.get("session_id")),
        text(account.get("username")) if isinstance(account, dict) else "",
        text(found.get("scope")),
        secret(found.get("device_token")),
    )


def whoami(found: Found) -> Whoami:
    """Raises UnexpectedAnswer for one about nobody: it is no yes."""
    return Whoami(
        _needed(found, "account_id"),
        text(found.get("username")),
        text(found.get("kind")),
        texts(found.get("scopes")),
        texts(found.get("roles")),
        text(found.get("session_id")),
        text(found.get("key_id")),
        moment(found.get("expires_at")),
    )


def account(found: Found) -> Account:
    """Raises UnexpectedAnswer."""
    return Account(
        _needed(found, "id"),
        text(found.get("username")),
        text(found.get("email")),
        text(found.get("name")),
        text(found.get("locale")),
        text(found.get("timezone")),
        part(found, "metadata"),
        moment(found.get("created_at")),
        moment(found.get("last_login_at")),
    )


def session_info(found: Found) -> SessionInfo:
    return SessionInfo(
        text(found.get("id")),
        found.get("current") is True,
        text(found.get("status")),
        text(found.get("device_name")),
        text(found.get("user_agent")),
        text(found.get("address")),
        text(found.get("last_address")),
        moment(found.get("created_at")),
        moment(found.get("last_used_at")),
        moment(found.get("expires_at")),
        moment(found.get("ended_at")),
        text(found.get("reason")),
    )


def me(found: Found) -> Me:
    return Me(
        account(part(found, "account")),
        session_info(part(found, "session")),
        texts(found.get("roles")),
        texts(found.get("scopes")),
        {name: text(value) for name, value in part(found, "resources").items()},
    )


def api_key(found: Found) -> ApiKey:
    times = ("created_at", "last_used_at", "expires_at")
    return ApiKey(
        text(found.get("id")),
        text(found.get("name")),
        text(found.get("prefix")),
        texts(found.get("scopes")),
        text(found.get("status")),
        **{name: moment(found.get(name)) for name in times},
    )


def new_api_key(found: Found) -> NewApiKey:
    """Raises UnexpectedAnswer for one without the key."""
    times = ("created_at", "expires_at", "old_until")
    return NewApiKey(
        text(found.get("id")),
        Secret(_needed(found, "key")),
        text(found.get("name")),
        texts(found.get("scopes")),
        **{name: moment(found.get(name)) for name in times},
    )


def part(found: Found, name: str) -> Found:
    """An object within the answer."""
    value = found.get(name)
    return value if isinstance(value, dict) else {}


def items(found: Found) -> Sequence[Found]:
    """The objects of a list."""
    values = found.get("items")
    return (
        [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
    )


def text(value: object) -> str:
    """The text, empty where there is none."""
    return value if isinstance(value, str) else ""


def texts(value: object) -> tuple[str, ...]:
    """The texts of a list."""
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def moment(value: object) -> datetime | None:
    """A time of RFC 3339, None where there is none, or only one at the end of time, which no other zone might have."""
    try:
        found = datetime.fromisoformat(text(value))
    except ValueError:
        return None
    return found if found.tzinfo and MINYEAR < found.year < MAXYEAR else None


def secret(value: object) -> Secret | None:
    """A text that is one, None where there is none."""
    return Secret(value) if isinstance(value, str) and value else None


def _needed(found: Found, name: str) -> str:
    value = text(found.get(name))
    if not value:
        raise UnexpectedAnswer(f"The answer has no {name}: check the address of the service.")
    return value


def _seconds(value: object) -> float:
    """A length; 0 for what is no number above it, as NaN is none."""
    return float(min(value, LONGEST)) if isinstance(value, int | float) and value > 0 else 0.0
