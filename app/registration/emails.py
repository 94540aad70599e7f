"""What is mailed to somebody who registers: the link and the code, or the news that there is an account already."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from app.adapters import encryption
from app.confirmations.issue import issue_token
from app.confirmations.models import ConfirmationPurpose
from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email
from app.rate_limits.per_recipient import count_email

if TYPE_CHECKING:
    from datetime import datetime

    from app.accounts.models import Account
    from app.registration.models import PendingRegistration
    from app.unit_of_work import UnitOfWork

CODE_LIFETIME = timedelta(minutes=30)
REGISTRATION_LIFETIME = timedelta(hours=24)


def compute_code_digest(work: UnitOfWork, registration: str, canonical_code: str) -> str:
    """What is kept of a new code: too short to be safe under a bare hash, so it is keyed (ASVS 6.5.2)."""
    return encryption.compute_code_digests(work.settings.secret_key, registration, canonical_code)[
        0
    ]


def is_correct_code(work: UnitOfWork, pending: PendingRegistration, canonical_code: str) -> bool:
    return any(
        encryption.compare_digests(digest, pending.code_digest)
        for digest in encryption.compute_code_digests(
            work.settings.secret_key, pending.id, canonical_code
        )
    )


def count_registration_email(work: UnitOfWork, *, account: Account | None, recipient: str) -> bool:
    """Count a mail to whoever was named, once whatever the case. True when they had their share of that kind of late."""
    return not count_email(
        work,
        EmailTemplate.ALREADY_REGISTERED if account is not None else EmailTemplate.CONFIRM_NEW,
        recipient,
    )


def queue_registration_email(
    work: UnitOfWork,
    *,
    subject: str,
    pending: PendingRegistration | None,
    account: Account | None,
    code: str,
    expires_at: datetime,
    withheld: bool,
) -> None:
    """Mail whoever owns the address. Every case costs the same, also the one in which there is nobody to write to.

    The link confirms `subject`, and the older links to it end.
    """
    token = issue_token(
        work, ConfirmationPurpose.REGISTRATION, subject=subject, lifetime=expires_at - work.now
    )
    values = {
        "username": pending.username if pending else "",
        "link": work.settings.link_confirm.replace("{token}", token),
        "code": code,
    }
    if account is not None:
        enqueue_email(
            work,
            EmailTemplate.ALREADY_REGISTERED,
            Email(account.email, account.locale, {}),
            withheld=withheld,
        )
    elif pending is not None:
        enqueue_email(
            work,
            EmailTemplate.CONFIRM_NEW,
            Email(pending.email, pending.locale, values),
            withheld=withheld,
        )
    else:
        enqueue_email(work, EmailTemplate.CONFIRM_NEW, Email("nobody", "", values), withheld=True)
