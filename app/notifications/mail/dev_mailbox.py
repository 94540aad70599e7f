"""Mail that has nowhere to go: shown on a page while developing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.adapters.secret_key import UnsealError
from app.notifications.mail.enqueue import unseal_email
from app.notifications.mail.render import RenderedEmail, render_email
from app.notifications.outbox.models import Delivery, DeliveryState

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

MAX_SHOWN_MESSAGES = 50


@dataclass(frozen=True, slots=True)
class MailboxMessage:
    """One mail of the mailbox, with its code picked out for whoever scripts against it."""

    rendered: RenderedEmail
    code: str | None


def list_mailbox_messages(work: UnitOfWork) -> list[MailboxMessage]:
    """The latest mail, newest first."""
    rows = work.db.scalars(
        select(Delivery)
        .where(Delivery.state == DeliveryState.MAILBOX)
        .order_by(Delivery.created_at.desc(), Delivery.id)
        .limit(MAX_SHOWN_MESSAGES)
    )
    letters = []
    for row in rows:
        # Mail from before SECRET_KEY was changed cannot be read any more; the rest can.
        with suppress(UnsealError):
            mail = unseal_email(work, row.id, row.sealed or "")
            letters.append(
                MailboxMessage(
                    render_email(work.settings, row.template, mail), mail.values.get("code")
                )
            )
    return letters
