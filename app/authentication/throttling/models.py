"""Counters of consecutive failed attempts.

An attempt is counted before it is verified, and its counters are cleared if it succeeds.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Index, String, or_
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.adapters.database import Base
from app.adapters.statements import delete_batch

ACCOUNT_PREFIX = "acc_"  # subjects of accounts are account ids; those of unknown names are not
RETENTION = timedelta(days=1)


class FailedAttempts(Base):
    """A counter of one subject over all sources, or of one subject and one source.

    The id is the subject, followed by a space and the source if there is one.
    """

    __tablename__ = "failed_attempts"
    __table_args__ = (
        Index("ix_failed_attempts_last_at", "last_at"),
        Index("ix_failed_attempts_subject", "subject"),
    )

    id: Mapped[str] = mapped_column(String(160), primary_key=True)
    subject: Mapped[str] = mapped_column(String(80))
    count: Mapped[int]
    undecided: Mapped[int]  # attempts in flight, not decided yet
    open_at: Mapped[datetime]  # when the next attempt is allowed
    last_at: Mapped[datetime]


def delete_expired(db: Session, now: datetime, limit: int) -> int:
    """Delete counters of sources and unknown names after a day. Counters of accounts stay."""
    passing = or_(
        FailedAttempts.id.contains(" "),
        ~FailedAttempts.id.startswith(ACCOUNT_PREFIX, autoescape=True),
    )
    return delete_batch(
        db, FailedAttempts, (FailedAttempts.last_at < now - RETENTION) & passing, limit
    )
