"""Queue emails in the outbox, sealed, in the transaction of the caller."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from app.notifications.outbox.enqueue import enqueue_delivery, unseal_payload
from app.notifications.outbox.models import Delivery, DeliveryKind, DeliveryState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.unit_of_work import UnitOfWork


class EmailTemplate(StrEnum):
    CONFIRM_NEW = "confirm_new"
    ALREADY_REGISTERED = "already_registered"
    PASSWORD_RESET = "password_reset"
    RESET_UNKNOWN = "reset_unknown"
    PASSWORD_CHANGED = "password_changed"
    NEW_LOGIN = "new_login"
    SUSPICIOUS_SESSION = "suspicious_session"
    REPORTED_SESSION = "reported_session"
    SUSPICIOUS_LOGIN = "suspicious_login"
    INVITATION = "invitation"
    ACCOUNT_DELETED = "account_deleted"
    API_KEY_LEAKED = "api_key_leaked"
    API_KEY_EXPIRING = "api_key_expiring"


@dataclass(frozen=True, slots=True)
class Email:
    """Recipient, language and template values of an email. It is rendered when it is sent."""

    to: str
    locale: str
    values: Mapping[str, str]


def enqueue_email(
    work: UnitOfWork, template: EmailTemplate, email: Email, *, withheld: bool = False
) -> None:
    """Queue an email, to be sent once the transaction is committed.

    With `withheld`, write the same row and send nothing. Use it where the response must not
    reveal whether there was an account to write to.
    """
    payload = json.dumps(asdict(email)).encode()
    state = _choose_initial_state(work, withheld=withheld)
    enqueue_delivery(work, DeliveryKind.EMAIL, template, payload, state=state)


def _choose_initial_state(work: UnitOfWork, *, withheld: bool) -> DeliveryState:
    if withheld:
        return DeliveryState.WITHHELD
    return DeliveryState.QUEUED if work.settings.smtp_url else DeliveryState.MAILBOX


def unseal_email(work: UnitOfWork, delivery: Delivery) -> Email:
    """Return the email of a delivery. Raises UnsealError."""
    return Email(**json.loads(unseal_payload(work, delivery)))
