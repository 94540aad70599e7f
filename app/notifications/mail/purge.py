"""Taking mail back that nobody should get any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from app.adapters.secret_key import UnsealError
from app.notifications.mail.enqueue import EmailTemplate, unseal_email
from app.notifications.outbox.models import Delivery

if TYPE_CHECKING:
    from collections.abc import Collection

    from app.unit_of_work import UnitOfWork


def delete_queued_emails(work: UnitOfWork, email_addresses: Collection[str]) -> None:
    """Mail to these addresses that still waits is never sent, but for the news that an account was deleted.

    To whom a mail goes is sealed with it, so each that waits is opened; what was sent or given up holds nothing any more.
    """
    waiting = select(Delivery).where(
        Delivery.sealed.is_not(None), Delivery.template != EmailTemplate.ACCOUNT_DELETED
    )
    ids = [row.id for row in work.db.scalars(waiting) if _recipient(work, row) in email_addresses]
    work.db.execute(
        delete(Delivery).where(Delivery.id.in_(ids)).execution_options(synchronize_session=False)
    )


def _recipient(work: UnitOfWork, row: Delivery) -> str | None:
    try:
        return unseal_email(work, row.id, row.sealed or "").to
    except UnsealError:
        return None
