"""The values that calls of the API return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from doorward.secret import Secret


@dataclass(frozen=True, slots=True)
class Whoami:
    """The principal of a credential.

    `kind` is "session" or "api_key". `expires_at` is None for a key that does not expire.
    """

    account_id: str
    username: str
    kind: str
    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    session_id: str
    key_id: str
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Account:
    """An account as its user sees it."""

    id: str
    username: str
    email: str
    name: str
    locale: str
    timezone: str
    metadata: Mapping[str, Any]
    created_at: datetime | None
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session of the account.

    `status` is live, expired, logged_out, revoked or suspicious. `address` and `last_address` are
    IP addresses.
    """

    id: str
    current: bool
    status: str
    device_name: str
    user_agent: str
    address: str
    last_address: str
    created_at: datetime | None
    last_used_at: datetime | None
    expires_at: datetime | None
    ended_at: datetime | None
    reason: str


@dataclass(frozen=True, slots=True)
class Me:
    """The account, the current session, and its permissions."""

    account: Account
    session: SessionInfo
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    resources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret."""

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    status: str
    created_at: datetime | None
    last_used_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """An API key with its secret, which the service returns only once.

    After a rotation, `old_until` is the time until which the previous secret stays valid.
    """

    id: str
    key: Secret
    name: str
    scopes: tuple[str, ...]
    created_at: datetime | None
    expires_at: datetime | None
    old_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """The name and version of the service."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class RoleCheck:
    """A permission check: whether the account has a role, or at least a level on a resource."""

    account_id: str
    role: str = ""
    resource: str = ""
    id: str = ""
    level: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the fields that are set."""
        fields = {
            "account_id": self.account_id,
            "role": self.role,
            "resource": self.resource,
            "id": self.id,
            "level": self.level,
        }
        return {name: value for name, value in fields.items() if value}


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens from a login or a refresh. Lifetimes are in seconds, 0 if unknown."""

    access: Secret
    expires_in: float
    refresh: Secret | None = None
    refresh_expires_in: float = 0
    session_id: str = ""
    username: str = ""
    scope: str = ""
    device_token: Secret | None = None
