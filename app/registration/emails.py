"""Emails of registration, and the codes in them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from app.adapters import encryption
from app.confirmations.issue import issue_token
from app.confirmations.models import ConfirmationPurpose
from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email
from app.rate_limits.count import count_email

if TYPE_CHECKING:
    from datetime import datetime

    from app.accounts.models import Account
    from app.registration.models import PendingRegistration
    from app.unit_of_work import UnitOfWork

CODE_LIFETIME = timedelta(minutes=30)
REGISTRATION_LIFETIME = timedelta(hours=24)


def compute_code_digest(work: UnitOfWork, registration: str, normalized_code: str) -> str:
    """Return the keyed digest of a new code.

    A plain hash of so short a code could be reversed (ASVS 6.5.2).
    """
    keys = work.settings.secret_key
    return encryption.compute_code_digests(keys, registration, normalized_code)[0]


def is_correct_code(work: UnitOfWork, pending: PendingRegistration, normalized_code: str) -> bool:
    """Compare the code with the stored digest, in constant time, under every secret key."""
    keys = work.settings.secret_key
    return any(
        encryption.compare_digests(digest, pending.code_digest)
        for digest in encryption.compute_code_digests(keys, pending.id, normalized_code)
    )


def count_registration_email(work: UnitOfWork, *, account: Account | None, recipient: str) -> bool:
    """Count the email to a recipient and return whether it may be sent."""
    known = account is not None
    template = EmailTemplate.ALREADY_REGISTERED if known else EmailTemplate.CONFIRM_NEW
    return count_email(work, template, recipient)


def enqueue_registration_email(
    work: UnitOfWork,
    *,
    subject: str,
    pending: PendingRegistration | None,
    account: Account | None,
    code: str,
    expires_at: datetime,
    withheld: bool,
) -> None:
    """Enqueue the email with link and code, or a notice if the address belongs to an account.

    The link confirms `subject`, and older links to it become invalid. The cost is the same in every
    case, also without a recipient.
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
        template, email = (
            EmailTemplate.ALREADY_REGISTERED,
            Email(account.email, account.locale, {}),
        )
    elif pending is not None:
        template, email = (EmailTemplate.CONFIRM_NEW, Email(pending.email, pending.locale, values))
    else:
        template, email = EmailTemplate.CONFIRM_NEW, Email("nobody", "", values)
        withheld = True
    enqueue_email(work, template, email, withheld=withheld)
