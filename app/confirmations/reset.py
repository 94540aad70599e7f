"""The token that lets another password be chosen, mailed or handed to whoever must choose one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from app.confirmations.issue import issue_token
from app.confirmations.models import ConfirmationPurpose

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

RESET_LIFETIME = timedelta(minutes=30)
INVITATION_LIFETIME = timedelta(hours=72)


def issue_reset_token(work: UnitOfWork, *, account_id: str, epoch: int) -> str:
    """Good once, within 30 minutes, and only until the account's epoch moves. A newer one ends it."""
    return issue_token(
        work, ConfirmationPurpose.RESET, subject=account_id, epoch=epoch, lifetime=RESET_LIFETIME
    )


def issue_invitation_token(work: UnitOfWork, *, account_id: str, epoch: int) -> str:
    """The same for an account that has no password yet, within 72 hours: its owner does not wait for the mail."""
    return issue_token(
        work,
        ConfirmationPurpose.RESET,
        subject=account_id,
        epoch=epoch,
        lifetime=INVITATION_LIFETIME,
    )
