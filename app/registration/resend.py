"""Sending the confirmation again."""

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
    queue_registration_email,
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
    """Mail a new link and code, which end the older ones, to whoever registered; nothing tells whether there was anyone.

    Raises InvalidInput when not exactly one of the two was given, or the address is none.
    """
    if (registration is None) == (email is None):
        raise InvalidInput(
            "Give either registration or email.",
            errors={"/registration": ["give either this or email"]},
        )
    address = _canonicalize_email(email) if email is not None else ""
    pending = _find_pending_registration(work, registration or "", address)
    account = find_account_by_email(work.db, pending.email_canonical if pending else address)
    # One count for whoever was named, also where there is nobody: by the address, or by the handle where it is all there is.
    held = count_registration_email(
        work,
        account=account,
        recipient=pending.email_canonical if pending else address or registration or "",
    )
    withheld = held or (pending is None and account is None)
    # Where no mail goes out, the link and code that went out before stay good: a name of nobody takes their place below.
    subject, code = pending.id if pending and not withheld else generate_id("reg"), generate_code()
    work.db.execute(
        update(PendingRegistration)
        .where(PendingRegistration.id == subject)
        .values(
            code_digest=compute_code_digest(work, subject, normalize_code(code)),
            code_expires_at=work.now + CODE_LIFETIME,
            tries=0,
        )
    )
    expires_at = pending.expires_at if pending else work.now + CODE_LIFETIME
    queue_registration_email(
        work,
        subject=subject,
        pending=pending,
        account=account,
        code=code,
        expires_at=expires_at,
        withheld=withheld,
    )
    record_event(work, Event.REGISTRATION_RESENT, client_info=client_info)


def _find_pending_registration(
    work: UnitOfWork, registration: str, address: str
) -> PendingRegistration | None:
    """The registration by its handle, or the newest one of the address."""
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
