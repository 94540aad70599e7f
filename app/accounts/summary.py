"""Accounts as shown to users and clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from app.accounts.models import Account


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """The part of an account that accompanies every token."""

    id: str
    username: str
    name: str
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """An account as its owner sees it."""

    id: str
    username: str
    email: str
    name: str
    locale: str
    timezone: str
    metadata: Mapping[str, Any]
    created_at: datetime
    last_login_at: datetime | None


def build_profile(account: Account) -> Profile:
    return Profile(
        id=account.id,
        username=account.username,
        email=account.email,
        name=account.name,
        locale=account.locale,
        timezone=account.timezone,
        metadata=account.extra,
        created_at=account.created_at,
        last_login_at=account.last_login_at,
    )
