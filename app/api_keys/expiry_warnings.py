"""Email the owners of API keys that expire soon: 14, 3 and 1 days before, once each."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import or_, select, update

from app.accounts.models import Account, AccountStatus
from app.adapters.statements import count_changed_rows
from app.api_keys.models import ApiKey, build_live_clause
from app.audit.record import Event, record_event
from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement

    from app.unit_of_work import UnitOfWork, UnitOfWorkFactory

WARNING_DAYS = (1, 3, 14)
BATCH = 100


def find_due_warning(left: timedelta) -> int | None:
    """Return the most urgent warning that is due, in days before expiry, or None."""
    return next((days for days in WARNING_DAYS if left <= timedelta(days=days)), None)


def get_initial_warned_days(life: timedelta | None) -> int | None:
    """Return the warning to skip for a new key: a key for two days needs no three-day warning."""
    return find_due_warning(life) if life is not None else None


def send_expiry_warnings(units: UnitOfWorkFactory) -> int:
    """Queue the warnings that are due and return their number.

    Safe to run in many processes at once.
    """
    sent = 0
    for days in WARNING_DAYS:
        with units.open_read_only() as work:
            found = _list_due_keys(work, days)
        for key_id in found:
            with units.open_read_write() as work:
                sent += _queue_warning(work, key_id, days)
    return sent


def _list_due_keys(work: UnitOfWork, days: int) -> Sequence[str]:
    """Return the next batch of keys of active accounts for which this warning is due."""
    mine = (
        select(ApiKey.id)
        .join(Account, Account.id == ApiKey.account_id)
        .where(_build_due_clause(work.now, days), Account.status == AccountStatus.ACTIVE)
    )
    return work.db.scalars(mine.order_by(ApiKey.expires_at, ApiKey.id).limit(BATCH)).all()


def _queue_warning(work: UnitOfWork, key_id: str, days: int) -> bool:
    """Queue a warning unless another process did: only one update changes the row."""
    due = _build_due_clause(work.now, days)
    claim = update(ApiKey).where(ApiKey.id == key_id, due).values(warned_days=days)
    if count_changed_rows(work.db, claim.execution_options(synchronize_session=False)) != 1:
        return False
    key = work.db.get_one(ApiKey, key_id)
    owner = work.db.get_one(Account, key.account_id)
    values = {
        "username": owner.username,
        "name": key.name,
        "prefix": key.prefix,
        "expires_at": f"{key.expires_at:%Y-%m-%d %H:%M} UTC",
    }
    enqueue_email(work, EmailTemplate.API_KEY_EXPIRING, Email(owner.email, owner.locale, values))
    record_event(work, Event.API_KEY_EXPIRING, account_id=owner.id, key_id=key.id, days=days)
    return True


def _build_due_clause(now: datetime, days: int) -> ColumnElement[bool]:
    """Return the condition that this warning is due, and neither it nor a later one was sent."""
    return (
        build_live_clause(now)
        & (ApiKey.expires_at <= now + timedelta(days=days))
        & or_(ApiKey.warned_days.is_(None), ApiKey.warned_days > days)
    )
