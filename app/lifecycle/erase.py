"""Erasing deleted accounts once their time is over. The audit trail keeps what happened, under an id that is nobody's any more."""

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
    """Erase some of the accounts that were deleted long enough ago, with all that hangs on them. Returns how many.

    Sessions, devices, keys, roles and memberships go with the row by their foreign keys. Ids are random, so none comes again.
    """
    over = select(Account).where(
        Account.status == AccountStatus.DELETED,
        Account.deleted_at <= work.now - work.settings.erase_after,
    )
    # Whoever brings one back at this moment was quicker, or comes too late: the row is locked.
    accounts = work.db.scalars(
        over.order_by(Account.deleted_at).limit(BATCH_SIZE).with_for_update(skip_locked=True)
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
