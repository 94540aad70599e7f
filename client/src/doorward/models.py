"""What the service answers, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from doorward.secret import Secret

Found = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Whoami:
    """Who a credential stands for. `kind` is "session" or "api_key"; `expires_at` is None for a key that does not expire."""

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
    """An account as its owner sees it."""

    id: str
    username: str
    email: str
    name: str
    locale: str
    timezone: str
    metadata: Found
    created_at: datetime | None
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One login: from which device, when, and until when. `status` is live, expired, logged_out, revoked or suspicious."""

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
    """The account, the session that asks, and what it may do."""

    account: Account
    session: SessionInfo
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    resources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret."""

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
    """A key with its secret, which is told only this once. `old_until` says until when the secret before it counts."""

    id: str
    key: Secret
    name: str
    scopes: tuple[str, ...]
    created_at: datetime | None
    expires_at: datetime | None
    old_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """What runs there."""

    name: str
    version: str


@dataclass(frozen=True, slots=True)
class RoleCheck:
    """A question about rights: has the account this role; or that level, or a higher one, at the thing?"""

    account_id: str
    role: str = ""
    resource: str = ""
    id: str = ""
    level: str = ""

    def to_json(self) -> dict[str, str]:
        """As it is sent: only what was said."""
        parts = {
            "account_id": self.account_id,
            "role": self.role,
            "resource": self.resource,
            "id": self.id,
            "level": self.level,
        }
        return {name: value for name, value in parts.items() if value}


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a login or a refresh hands out. Lives are seconds from the answer on; 0 where it is not known."""

    access: Secret
    expires_in: float
    refresh: Secret | None = None
    refresh_expires_in: float = 0
    session_id: str = ""
    username: str = ""
    scope: str = ""
    device_token: Secret | None = field(default=None)
