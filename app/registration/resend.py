"""Sending the confirmation email again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from app.accounts import names
from app.accounts.models import find_account_by_email
from app.audit.record import Event, record_event
from app.errors import InvalidInput
from app.opaque_tokens import generate_code, generate_id, is_id, normalize_code
from app.registration.emails import (
    CODE_LIFETIME,
    compute_code_digest,
    count_registration_email,
    enqueue_registration_email,
)
from app.registration.models import PendingRegistration

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork


def resend_confirmation(
    work: UnitOfWork,
    client_info: ClientInfo,
    *,
    registration: str | None = None,
    email: str | None = None,
) -> None:
    """Email a new link and code, which replace the older ones, if there is a pending registration.

    The answer and the cost are the same if there is none. Raises InvalidInput unless exactly one of
    the two is given.
    """
    if (registration is None) == (email is None):
        raise InvalidInput(
            "Send either registration or email.",
            errors={"/registration": ["send either this or email"]},
        )
    address = _canonicalize_email(email) if email is not None else ""
    pending = _find_pending_registration(work, registration or "", address)
    account = find_account_by_email(work.db, pending.email_canonical if pending else address)
    # Count without a recipient too, by the email address or handle that was sent.
    recipient = pending.email_canonical if pending else address or registration or ""
    may_send = count_registration_email(work, account=account, recipient=recipient)
    withheld = not may_send or (pending is None and account is None)
    # If no email is sent, the older link and code stay valid: a made-up subject is written instead.
    subject = pending.id if pending and not withheld else generate_id("reg")
    code = _replace_code(work, subject)
    expires_at = pending.expires_at if pending else work.now + CODE_LIFETIME
    enqueue_registration_email(
        work,
        subject=subject,
        pending=pending,
        account=account,
        code=code,
        expires_at=expires_at,
        withheld=withheld,
    )
    record_event(work, Event.REGISTRATION_RESENT, client_info=client_info)


def _replace_code(work: UnitOfWork, registration: str) -> str:
    """Give the registration a new code with all its attempts, and return the code."""
    code = generate_code()
    work.db.execute(
        update(PendingRegistration)
        .where(PendingRegistration.id == registration)
        .values(
            code_digest=compute_code_digest(work, registration, normalize_code(code)),
            code_expires_at=work.now + CODE_LIFETIME,
            tries=0,
        )
    )
    return code


def _find_pending_registration(
    work: UnitOfWork, registration: str, address: str
) -> PendingRegistration | None:
    """Return the registration with this handle, or the newest one of the email address."""
    which = (
        PendingRegistration.id == registration
        if is_id("reg", registration)
        else PendingRegistration.email_canonical == address
    )
    return work.db.scalar(
        select(PendingRegistration)
        .where(which, PendingRegistration.role.is_(None), PendingRegistration.expires_at > work.now)
        .order_by(PendingRegistration.created_at.desc())
        .limit(1)
    )


def _canonicalize_email(email: str) -> str:
    try:
        return names.canonicalize_email(email)
    except names.InvalidName as error:
        raise InvalidInput(errors={"/email": [str(error)]}) from None
