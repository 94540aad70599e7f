"""The development mailbox: emails shown on a page when no SMTP server is set."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.adapters.encryption import UnsealError
from app.i18n import match_language
from app.notifications.mail.enqueue import unseal_email
from app.notifications.mail.render import RenderedEmail, render_email
from app.notifications.outbox.models import Delivery, DeliveryState

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

MAX_SHOWN_MESSAGES = 50


@dataclass(frozen=True, slots=True)
class MailboxMessage:
    """A rendered email, with what scripts that read the mailbox need to know about it."""

    template: str
    language: str
    rendered: RenderedEmail
    code: str | None


def list_mailbox_messages(work: UnitOfWork) -> list[MailboxMessage]:
    """List the latest emails, newest first."""
    rows = work.db.scalars(
        select(Delivery)
        .where(Delivery.state == DeliveryState.MAILBOX)
        .order_by(Delivery.created_at.desc(), Delivery.id)
        .limit(MAX_SHOWN_MESSAGES)
    )
    messages = []
    for row in rows:
        # Emails sealed under a secret key that is gone cannot be read. The others can.
        with suppress(UnsealError):
            email = unseal_email(work, row)
            rendered = render_email(work.settings, row.template, email)
            messages.append(
                MailboxMessage(
                    row.template, match_language(email.locale), rendered, email.values.get("code")
                )
            )
    return messages
