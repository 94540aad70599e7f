"""Sources of which somebody said that they were not who they seemed: for a day they may ask to be let in only now and then."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import case, select, update

from app.adapters.database import insert_or_update
from app.attempts.errors import TooManyRequests
from app.attempts.models import FailedAttempts

if TYPE_CHECKING:
    from app.principal import Source
    from app.unit_of_work import UnitOfWork

REMEMBERED = timedelta(days=1)
SELDOM = "1/10 minute"
POLICY = "suspect"


def suspect(work: UnitOfWork, bucket: str) -> None:
    """Something that came from there was called suspicious."""
    until = work.now + REMEMBERED
    row = {"id": _name(bucket), "subject": _name(bucket), "count": 1, "undecided": 0, "open_at": until, "last_at": work.now}
    insert_or_update(
        work.db,
        FailedAttempts,
        [row],
        update={
            # A mark that is over is none any more, also while its row is still there.
            "count": case((FailedAttempts.open_at <= work.now, 1), else_=FailedAttempts.count + 1),
            "open_at": until,
            "last_at": work.now,
        },
        where=FailedAttempts.count >= 0,
    )


def unsuspect(work: UnitOfWork, bucket: str) -> None:
    """One of the things that came from there was not suspicious after all."""
    work.db.execute(
        update(FailedAttempts)
        .where(FailedAttempts.id == _name(bucket), FailedAttempts.count > 0)
        .values(count=FailedAttempts.count - 1)
        .execution_options(synchronize_session=False)
    )


def hold_back(work: UnitOfWork, source: Source) -> None:
    """Let a suspect source ask only now and then. Raises TooManyRequests."""
    marked = select(FailedAttempts.id).where(
        FailedAttempts.id == _name(source.bucket), FailedAttempts.count > 0, FailedAttempts.open_at > work.now
    )
    if work.db.scalar(marked) is None:
        return
    exceeded = work.limiter.hit(SELDOM, POLICY, source.bucket)
    if exceeded is not None:
        raise TooManyRequests(POLICY, exceeded)


def _name(bucket: str) -> str:
    return f"suspect {bucket}"
