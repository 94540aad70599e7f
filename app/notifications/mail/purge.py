"""Delete queued emails to people whose account is erased."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from app.adapters.encryption import UnsealError
from app.notifications.mail.enqueue import EmailTemplate, unseal_email
from app.notifications.outbox.models import Delivery, DeliveryKind

if TYPE_CHECKING:
    from collections.abc import Collection

    from app.unit_of_work import UnitOfWork


def delete_queued_emails(work: UnitOfWork, email_addresses: Collection[str]) -> None:
    """Delete unsent emails to these email addresses, except the notice that an account was deleted.

    The recipient is part of the sealed payload, so every unsent email is opened. Emails that were
    sent or abandoned no longer contain anything.
    """
    unsent = select(Delivery).where(
        Delivery.kind == DeliveryKind.EMAIL,
        Delivery.sealed.is_not(None),
        Delivery.template != EmailTemplate.ACCOUNT_DELETED,
    )
    ids = [
        row.id for row in work.db.scalars(unsent) if _find_recipient(work, row) in email_addresses
    ]
    work.db.execute(
        delete(Delivery).where(Delivery.id.in_(ids)).execution_options(synchronize_session=False)
    )


def _find_recipient(work: UnitOfWork, delivery: Delivery) -> str | None:
    try:
        return unseal_email(work, delivery).to
    except UnsealError:
        return None
