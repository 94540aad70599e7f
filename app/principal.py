"""Who asks, and from where."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CredentialKind(StrEnum):
    """The sort of credential that was shown."""

    SESSION = "session"
    API_KEY = "api_key"  # or a token that one was traded for


@dataclass(frozen=True, slots=True)
class Principal:
    """An account as one credential shows it. Made only by the gateway, after every check was passed."""

    account_id: str
    username: str
    kind: CredentialKind
    session_id: str  # empty for a key
    expires_at: (
        datetime | None
    )  # of the credential that was shown; None for a key that does not expire
    auth_time: datetime | None  # when a password was typed; None where none was, as by a key
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    key_id: str = ""
    token_id: str = ""  # `jti` of an access token
    issued_at: datetime | None = None  # of an access token
    client_id: str = ""  # the program that a session is of
    epoch: int = 0  # of the account when a session was checked; a write that waits for the account asks whether it is still that


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """From where a request came. `bucket` is what limits count by: an IPv4 address, or the /64 of an IPv6 address."""

    address: str
    bucket: str
    user_agent: str
    request_id: str
    locale: str
