"""Issuing and invalidating confirmation tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import update

from app.confirmations.models import Confirmation, ConfirmationPurpose
from app.opaque_tokens import generate_id, generate_token

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

PREFIXES = {
    ConfirmationPurpose.REGISTRATION: "dwc",
    ConfirmationPurpose.RESET: "dwp",
    ConfirmationPurpose.BOOTSTRAP: "dwb",
}
RESET_LIFETIME = timedelta(minutes=30)
INVITATION_LIFETIME = timedelta(hours=72)  # the owner of the account does not expect the email


def issue_token(
    work: UnitOfWork,
    purpose: ConfirmationPurpose,
    *,
    subject: str,
    lifetime: timedelta,
    epoch: int | None = None,
) -> str:
    """Issue a token for one use and invalidate older ones of the same subject and purpose.

    `epoch` is that of the account concerned. When the token is redeemed, compare it with the
    current one.
    """
    invalidate_tokens(work, purpose, subject=subject)
    row_id = generate_id("cnf")
    generated = generate_token(PREFIXES[purpose], row_id)
    work.db.add(
        Confirmation(
            id=row_id,
            purpose=purpose,
            subject=subject,
            epoch=epoch,
            digest=generated.digest,
            created_at=work.now,
            expires_at=work.now + lifetime,
        )
    )
    return generated.token


def issue_reset_token(work: UnitOfWork, *, account_id: str, epoch: int) -> str:
    """Issue a token to reset the password within 30 minutes, in this epoch of the account."""
    return issue_token(
        work, ConfirmationPurpose.RESET, subject=account_id, epoch=epoch, lifetime=RESET_LIFETIME
    )


def issue_invitation_token(work: UnitOfWork, *, account_id: str, epoch: int) -> str:
    """Issue a token to choose the first password of an account within 72 hours."""
    return issue_token(
        work,
        ConfirmationPurpose.RESET,
        subject=account_id,
        epoch=epoch,
        lifetime=INVITATION_LIFETIME,
    )


def invalidate_tokens(work: UnitOfWork, purpose: ConfirmationPurpose, *, subject: str) -> None:
    """Invalidate all unused tokens of a subject for one purpose."""
    work.db.execute(
        update(Confirmation)
        .where(
            Confirmation.subject == subject,
            Confirmation.purpose == purpose,
            Confirmation.used_at.is_(None),
        )
        .values(used_at=work.now)
    )


def invalidate_all_tokens(work: UnitOfWork, *, subject: str) -> None:
    """Invalidate all unused tokens of a subject for any purpose."""
    work.db.execute(
        update(Confirmation)
        .where(Confirmation.subject == subject, Confirmation.used_at.is_(None))
        .values(used_at=work.now)
    )
