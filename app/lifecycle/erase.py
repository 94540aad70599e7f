"""Erasure of deleted accounts after the setting ERASE_AFTER.

Audit events stay; they refer to the erased account by its random id only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from app.accounts.models import Account, AccountStatus
from app.audit.record import Event, record_event
from app.authentication.throttling.password_attempts import clear_all_failures
from app.confirmations.models import Confirmation
from app.notifications.mail.purge import delete_queued_emails

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

BATCH_SIZE = 50


def erase_deleted_accounts(work: UnitOfWork) -> int:
    """Erase a batch of accounts whose time is up, with all their data. Returns how many.

    Sessions, devices, API keys, roles and memberships are deleted by their foreign keys.
    """
    due = select(Account).where(
        Account.status == AccountStatus.DELETED,
        Account.deleted_at <= work.now - work.settings.erase_after,
    )
    # Skip accounts that an administrator is restoring at this moment.
    accounts = work.db.scalars(
        due.order_by(Account.deleted_at).limit(BATCH_SIZE).with_for_update(skip_locked=True)
    ).all()
    if not accounts:
        return 0
    ids = [account.id for account in accounts]
    delete_queued_emails(work, {account.email for account in accounts})
    work.db.execute(
        delete(Confirmation)
        .where(Confirmation.subject.in_(ids))
        .execution_options(synchronize_session=False)
    )
    for account_id in ids:
        clear_all_failures(work, account_id)
        record_event(work, Event.ACCOUNT_ERASED, account_id=account_id)
    work.db.execute(
        delete(Account).where(Account.id.in_(ids)).execution_options(synchronize_session=False)
    )
    return len(ids)
