"""Send emails over SMTP."""

from __future__ import annotations

from contextlib import contextmanager
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from functools import partial
from typing import TYPE_CHECKING

from app.adapters.mailer import Mailer
from app.notifications.mail.enqueue import unseal_email
from app.notifications.mail.render import render_email

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.notifications.mail.render import RenderedEmail
    from app.notifications.outbox.models import Delivery
    from app.settings import Settings
    from app.unit_of_work import UnitOfWork


@contextmanager
def open_email_sender(
    settings: Settings,
) -> Iterator[Callable[[UnitOfWork, Delivery], Callable[[], None]]]:
    """Open the sender of emails. It keeps one SMTP connection for all emails of a run."""
    with Mailer(settings.smtp_url or "") as mailer:

        def prepare(work: UnitOfWork, delivery: Delivery) -> Callable[[], None]:
            rendered = render_email(work.settings, delivery.template, unseal_email(work, delivery))
            return partial(mailer.send, _build_mime_message(work.settings, rendered, delivery))

        yield prepare


def _build_mime_message(
    settings: Settings, rendered: RenderedEmail, delivery: Delivery
) -> EmailMessage:
    """Build the message. Retries have the same Message-ID, so that duplicates can be detected."""
    sender_name, sender = parseaddr(settings.mail_from)
    user, _, domain = sender.rpartition("@")
    mime = EmailMessage()
    mime["From"] = Address(sender_name, user, domain)
    mime["To"] = rendered.to
    mime["Subject"] = rendered.subject
    mime["Date"] = format_datetime(delivery.created_at)
    mime["Message-ID"] = f"<{delivery.id}@{domain}>"
    mime["Auto-Submitted"] = "auto-generated"
    mime.set_content(rendered.text)
    mime.add_alternative(rendered.html, subtype="html")
    return mime
