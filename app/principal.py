"""Who asks, and from where."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Kind(StrEnum):
    """The sort of credential that was shown."""

    SESSION = "session"


@dataclass(frozen=True, slots=True)
class Principal:
    """An account as one credential shows it. Made only by the gateway, after every check was passed."""

    account_id: str
    username: str
    kind: Kind
    session_id: str
    expires_at: datetime
    auth_time: datetime | None
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """From where a request came. `bucket` is what limits count by: an IPv4 address, or the /64 of an IPv6 address."""

    address: str
    bucket: str
    user_agent: str
    request_id: str
    locale: str
