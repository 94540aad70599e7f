"""The principal of a request, and the client it came from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CredentialKind(StrEnum):
    """The kind of credential that authenticated a request."""

    SESSION = "session"
    API_KEY = "api_key"  # or an access token issued for one


@dataclass(frozen=True, slots=True)
class Principal:
    """An account, as authenticated by one credential.

    Only `app.verification` creates principals.
    """

    account_id: str
    username: str
    kind: CredentialKind
    session_id: str  # empty for an API key
    expires_at: datetime | None  # of the credential; None if it does not expire
    auth_time: datetime | None  # of the last password check; None if there was none
    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    key_id: str = ""
    token_id: str = ""  # `jti` of an access token
    issued_at: datetime | None = None  # of an access token
    client_id: str = ""  # of the session
    epoch: int = 0  # of the account when the credential was checked; writes compare it again


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """The client of a request. Rate limits count by `bucket`: its IPv4 address or its IPv6 /64."""

    address: str
    bucket: str
    user_agent: str
    request_id: str
    locale: str
