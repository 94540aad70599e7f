"""Making a secret to be mailed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from app.confirmations.models import Confirmation, Purpose
from app.opaque_tokens import mint, new_id

if TYPE_CHECKING:
    from datetime import timedelta

    from app.unit_of_work import UnitOfWork

PREFIXES = {Purpose.REGISTRATION: "dwc", Purpose.RESET: "dwp", Purpose.BOOTSTRAP: "dwb"}


def issue(
    work: UnitOfWork, purpose: Purpose, *, subject: str, life: timedelta, epoch: int | None = None
) -> str:
    """A token good for one use. A newer one ends the older ones of the same subject and purpose.

    `epoch` is that of the account it is about; whoever redeems it asks whether that is still the account's.
    """
    end_unused(work, purpose, subject=subject)
    row_id = new_id("cnf")
    minted = mint(PREFIXES[purpose], row_id)
    work.db.add(
        Confirmation(
            id=row_id,
            purpose=purpose,
            subject=subject,
            epoch=epoch,
            digest=minted.digest,
            created_at=work.now,
            expires_at=work.now + life,
        )
    )
    return minted.token


def end_all_unused(work: UnitOfWork, *, subject: str) -> None:
    """No token that is out about this subject is good any more, whatever it was for."""
    work.db.execute(
        update(Confirmation)
        .where(Confirmation.subject == subject, Confirmation.used_at.is_(None))
        .values(used_at=work.now)
    )


def end_unused(work: UnitOfWork, purpose: Purpose, *, subject: str) -> None:
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
