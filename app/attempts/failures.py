"""How often a password was tried in vain: one durable counter for each account, shared by every path that checks one.

Every source waits longer after each failure, so that a stranger who guesses delays himself and not the owner; all
sources together have a hundred tries, then the password opens nothing until it was reset (NIST SP 800-63B-4 section 3.2.2).
Names that nobody has are counted alike, under a keyed digest: the delay tells nothing about who exists.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, delete, or_, select, update

from app.adapters.database import insert_or_update
from app.adapters.rate_limiter import Exceeded
from app.adapters.sealing import name_digest
from app.attempts.errors import TooManyRequests
from app.attempts.models import FailedAttempts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement

    from app.unit_of_work import UnitOfWork

FREE = 4  # failures after which nobody waits yet
DELAYS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900)  # seconds after the fifth failure, the sixth, …
MOST = 100  # failures in a row from all sources together
POLICY = "password"


@dataclass(frozen=True, slots=True)
class Attempt:
    """A try that was taken: whose it counts for, from where, and whether it may be looked at."""

    subject: str
    counter: str
    open: bool


def subject_of_name(work: UnitOfWork, canonical: str) -> str:
    """What stands for a name that nobody has."""
    return "name:" + name_digest(work.settings.secret_key, canonical)


def take(work: UnitOfWork, *, subject: str, bucket: str) -> Attempt:
    """Count a try, before it is looked at: of many at once, those beyond the limit find it reached.

    `open` is False once all sources together had their hundred: then no password is right. Raises TooManyRequests for
    a source that has to wait; then nothing is counted. An account must be locked by the caller.
    """
    counter = f"{subject} {bucket}"
    written = _count(work, counter, subject, {subject: MOST})
    if counter not in written:
        raise _wait(work, counter)
    return Attempt(subject, counter, subject in written)


def take_unhindered(work: UnitOfWork, *, subject: str, counter: str, most: int) -> Attempt | None:
    """Count a try that neither waits nor depends on what others did, because `counter` is a device that the owner knows.

    None once that has had `most` in a row: then it is a stranger like any other.
    """
    written = _count(work, counter, subject, {subject: MOST, counter: most})
    return Attempt(subject, counter, open=True) if counter in written else None


def give_back(work: UnitOfWork, attempt: Attempt) -> None:
    """The try was not looked at after all."""
    counted = FailedAttempts.id.in_([attempt.counter, attempt.subject] if attempt.open else [attempt.counter])
    work.db.execute(update(FailedAttempts).where(counted, FailedAttempts.count > 0).values(count=FailedAttempts.count - 1))


def forget(work: UnitOfWork, attempt: Attempt) -> None:
    """The try was right: nothing has failed in a row any more. The account must be locked."""
    work.db.execute(delete(FailedAttempts).where(FailedAttempts.id.in_([attempt.counter, attempt.subject])))


def forget_all(work: UnitOfWork, account_id: str) -> None:
    """The password is another one: whatever was counted against the old one is over. The account must be locked."""
    mine = or_(FailedAttempts.id == account_id, FailedAttempts.id.startswith(f"{account_id} ", autoescape=True))
    work.db.execute(delete(FailedAttempts).where(mine).execution_options(synchronize_session=False))


def _count(work: UnitOfWork, counter: str, subject: str, most: Mapping[str, int]) -> set[str]:
    """Count one in each of the two that is open: `most` names those that end at a number; the others wait, ever longer.

    Returns which were counted. Always in this order, or two at once would wait for each other.
    """
    now, count = work.now, FailedAttempts.count
    below = or_(FailedAttempts.id.not_in(list(most)), *(and_(FailedAttempts.id == one, count < number) for one, number in most.items()))
    written = insert_or_update(
        work.db,
        FailedAttempts,
        [{"id": one, "count": 1, "open_at": now, "last_at": now} for one in (counter, subject)],
        update={"count": count + 1, "open_at": case((FailedAttempts.id.in_(list(most)), now), else_=_open_at(now)), "last_at": now},
        where=and_(FailedAttempts.open_at <= now, below),
    )
    return set(written)


def _open_at(now: datetime) -> ColumnElement[datetime]:
    """When the next try may be made after one failure more than are counted."""
    steps = ((FailedAttempts.count == FREE + step, now + timedelta(seconds=delay)) for step, delay in enumerate(DELAYS))
    return case((FailedAttempts.count < FREE, now), *steps, else_=now + timedelta(seconds=DELAYS[-1]))


def _wait(work: UnitOfWork, counter: str) -> TooManyRequests:
    count, open_at = work.db.execute(select(FailedAttempts.count, FailedAttempts.open_at).where(FailedAttempts.id == counter)).one()
    step = min(max(count - FREE, 1), len(DELAYS))
    return TooManyRequests(POLICY, Exceeded(1, DELAYS[step - 1], max(1, math.ceil((open_at - work.now).total_seconds()))))
