"""Failures in a row. A try is counted before it is looked at, and forgotten once it was right."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Index, String, or_
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.adapters.database import Base
from app.adapters.statements import delete_batch

ACCOUNT_PREFIX = "acc_"  # an account's counter begins with the account's id; one of a name that nobody has does not
RETENTION = timedelta(days=1)


class FailedAttempts(Base):
    """A counter of all sources together (`id` is the subject), or of one source (the subject, a
    space, the source).
    """

    __tablename__ = "failed_attempts"
    __table_args__ = (
        Index("ix_failed_attempts_last_at", "last_at"),
        Index("ix_failed_attempts_subject", "subject"),
    )

    id: Mapped[str] = mapped_column(String(160), primary_key=True)
    subject: Mapped[str] = mapped_column(String(80))
    count: Mapped[int]
    undecided: Mapped[int]  # how many of these are being looked at
    open_at: Mapped[datetime]  # when the next try may be made
    last_at: Mapped[datetime]


def delete_expired(db: Session, now: datetime, limit: int) -> int:
    """A source is remembered for a day; what an account has counted in all stays until it is
    forgotten.
    """
    passing = or_(
        FailedAttempts.id.contains(" "),
        ~FailedAttempts.id.startswith(ACCOUNT_PREFIX, autoescape=True),
    )
    return delete_batch(
        db, FailedAttempts, (FailedAttempts.last_at < now - RETENTION) & passing, limit
    )
