"""Opening accounts: by registration, by an administrator and by import."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from app.accounts.models import Account, AccountStatus
from app.adapters.statements import insert_all_absent, insert_if_absent
from app.opaque_tokens import generate_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.unit_of_work import UnitOfWork

DEFAULT_LOCALE = "en"
DEFAULT_TIMEZONE = "UTC"


@dataclass(frozen=True, slots=True)
class NewAccount:
    """The columns of an account to open. Usernames and email addresses have been parsed."""

    username: str
    email: str
    email_canonical: str
    name: str
    locale: str
    password_hash: str = field(repr=False)
    timezone: str = DEFAULT_TIMEZONE
    metadata: Mapping[str, object] = field(default_factory=dict)
    must_change_since: datetime | None = None
    created_at: datetime | None = None  # now, if not given


def open_account(work: UnitOfWork, new: NewAccount) -> str | None:
    """Open an account and return its id, or None if its username or email address is taken."""
    account_id = generate_id("acc")
    row = _build_row(work, account_id, new)
    return account_id if insert_if_absent(work.db, Account, **row) else None


def open_accounts(work: UnitOfWork, accounts: Sequence[NewAccount]) -> set[str]:
    """Open many accounts in one statement.

    Returns the usernames of those that were opened, not of those already taken.
    """
    by_id = {generate_id("acc"): new for new in accounts}
    rows = [_build_row(work, account_id, new) for account_id, new in by_id.items()]
    inserted = insert_all_absent(work.db, Account, rows)
    return {by_id[account_id].username for account_id in inserted}


def _build_row(work: UnitOfWork, account_id: str, new: NewAccount) -> dict[str, object]:
    return {
        "id": account_id,
        "username": new.username,
        "email": new.email,
        "email_canonical": new.email_canonical,
        "name": new.name,
        "locale": new.locale,
        "timezone": new.timezone,
        "extra": dict(new.metadata),
        "password_hash": new.password_hash,
        "must_change_since": new.must_change_since,
        "status": AccountStatus.ACTIVE,
        "epoch": 1,
        "roles_version": 0,
        "created_at": new.created_at or work.now,
    }
