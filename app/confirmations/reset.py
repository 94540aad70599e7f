"""The token that lets another password be chosen, mailed or handed to whoever must choose one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from app.confirmations.issue import issue
from app.confirmations.models import Purpose

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

LIFE = timedelta(minutes=30)
INVITATION_LIFE = timedelta(hours=72)


def issue_reset(work: UnitOfWork, *, account_id: str, epoch: int) -> str:
    """Good once, within 30 minutes, and only until the account's epoch moves. A newer one ends it."""
    return issue(work, Purpose.RESET, subject=account_id, epoch=epoch, life=LIFE)


def issue_invitation(work: UnitOfWork, *, account_id: str, epoch: int) -> str:
    """The same for an account that has no password yet, within 72 hours: its owner does not wait for the mail."""
    return issue(work, Purpose.RESET, subject=account_id, epoch=epoch, life=INVITATION_LIFE)
