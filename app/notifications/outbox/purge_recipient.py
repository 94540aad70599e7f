"""Taking mail back that nobody should get any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from app.adapters.sealing import CannotUnseal
from app.notifications.outbox.enqueue import Template, opened
from app.notifications.outbox.models import OutboxMessage

if TYPE_CHECKING:
    from collections.abc import Collection

    from app.unit_of_work import UnitOfWork


def forget_mail_to(work: UnitOfWork, addresses: Collection[str]) -> None:
    """Mail to these addresses that still waits is never sent, but for the news that an account was deleted.

    To whom a mail goes is sealed with it, so each that waits is opened; what was sent or given up holds nothing any more.
    """
    waiting = select(OutboxMessage).where(
        OutboxMessage.sealed.is_not(None), OutboxMessage.template != Template.ACCOUNT_DELETED
    )
    ids = [row.id for row in work.db.scalars(waiting) if _recipient(work, row) in addresses]
    work.db.execute(
        delete(OutboxMessage)
        .where(OutboxMessage.id.in_(ids))
        .execution_options(synchronize_session=False)
    )


def _recipient(work: UnitOfWork, row: OutboxMessage) -> str | None:
    try:
        return opened(work, row.id, row.sealed or "").to
    except CannotUnseal:
        return None
