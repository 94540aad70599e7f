"""Putting a mail into the outbox, sealed, in the transaction of whoever asks."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from app.adapters import secret_key
from app.adapters.secret_key import KeyPurpose
from app.notifications.outbox.models import Delivery, DeliveryState
from app.opaque_tokens import generate_id

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
    """What is sealed: everything a template needs, rendered when it is sent."""

    to: str
    locale: str
    values: Mapping[str, str]


def enqueue_email(
    work: UnitOfWork, template: EmailTemplate, email: Email, *, withheld: bool = False
) -> None:
    """Send a mail once this transaction is committed.

    `withheld` writes the same row and sends nothing, where the answer must not tell whether there was anyone to write to.
    """
    work.db.add(
        _build_delivery(work, template, email, _choose_initial_state(work, withheld=withheld))
    )


def _choose_initial_state(work: UnitOfWork, *, withheld: bool) -> DeliveryState:
    if withheld:
        return DeliveryState.WITHHELD
    return DeliveryState.QUEUED if work.settings.smtp_url else DeliveryState.MAILBOX


def _build_delivery(
    work: UnitOfWork, template: EmailTemplate, email: Email, state: DeliveryState
) -> Delivery:
    row_id = generate_id("msg")
    sealed = secret_key.seal(
        work.settings.secret_key, KeyPurpose.OUTBOX, json.dumps(asdict(email)).encode(), row_id
    )
    return Delivery(
        id=row_id,
        template=template,
        sealed=None if state is DeliveryState.WITHHELD else sealed,
        state=state,
        created_at=work.now,
        due_at=work.now,
    )


def unseal_email(work: UnitOfWork, row_id: str, sealed: str) -> Email:
    """The mail as it was asked for. Raises CannotUnseal."""
    return Email(
        **json.loads(secret_key.unseal(work.settings.secret_key, KeyPurpose.OUTBOX, sealed, row_id))
    )
