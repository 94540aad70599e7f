"""Making a secret to be mailed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from app.confirmations.models import Confirmation, ConfirmationPurpose
from app.opaque_tokens import generate_id, generate_token

if TYPE_CHECKING:
    from datetime import timedelta

    from app.unit_of_work import UnitOfWork

PREFIXES = {
    ConfirmationPurpose.REGISTRATION: "dwc",
    ConfirmationPurpose.RESET: "dwp",
    ConfirmationPurpose.BOOTSTRAP: "dwb",
}


def issue_token(
    work: UnitOfWork,
    purpose: ConfirmationPurpose,
    *,
    subject: str,
    lifetime: timedelta,
    epoch: int | None = None,
) -> str:
    """A token good for one use. A newer one ends the older ones of the same subject and purpose.

    `epoch` is that of the account it is about; whoever redeems it asks whether that is still the account's.
    """
    invalidate_tokens(work, purpose, subject=subject)
    row_id = generate_id("cnf")
    minted = generate_token(PREFIXES[purpose], row_id)
    work.db.add(
        Confirmation(
            id=row_id,
            purpose=purpose,
            subject=subject,
            epoch=epoch,
            digest=minted.digest,
            created_at=work.now,
            expires_at=work.now + lifetime,
        )
    )
    return minted.token


def invalidate_all_tokens(work: UnitOfWork, *, subject: str) -> None:
    """No token that is out about this subject is good any more, whatever it was for."""
    work.db.execute(
        update(Confirmation)
        .where(Confirmation.subject == subject, Confirmation.used_at.is_(None))
        .values(used_at=work.now)
    )


def invalidate_tokens(work: UnitOfWork, purpose: ConfirmationPurpose, *, subject: str) -> None:
    """None of the tokens that are out for this subject and purpose is good any more."""
    work.db.execute(
        update(Confirmation)
        .where(
            Confirmation.subject == subject,
            Confirmation.purpose == purpose,
            Confirmation.used_at.is_(None),
        )
        .values(used_at=work.now)
    )
