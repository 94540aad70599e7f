"""How often a password was tried in vain: one durable counter for each account, shared by every
path that checks one.

Every source waits longer after each failure, so that a stranger who guesses delays himself and not
the owner; all sources together have a hundred tries, then the password opens nothing until it was
reset (NIST SP 800-63B-4 section 3.2.2). Names that nobody has are counted alike, under a keyed
digest: the delay tells nothing about who exists.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, delete, exists, literal, or_, select, true, update

from app.adapters.database import UtcDateTime
from app.adapters.encryption import compute_name_digest
from app.adapters.rate_limiter import ExceededLimit
from app.adapters.statements import upsert_all
from app.authentication.throttling.models import FailedAttempts
from app.rate_limits.errors import AttemptsInFlight, TooManyRequests

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import ColumnElement

    from app.unit_of_work import UnitOfWork

FREE_FAILURES = 4  # failures after which nobody waits yet
DELAYS = (
    1,
    2,
    4,
    8,
    16,
    32,
    64,
    128,
    256,
    512,
    900,
)  # seconds after the fifth failure, the sixth, …
MAX_FAILURES = 100  # failures in a row from all sources together
POLICY = "password"
POLL_SECONDS = 0.05  # seconds
IN_FLIGHT_TIMEOUT = timedelta(
    seconds=5
)  # a try that is older is decided, or whoever looked at it has died


@dataclass(frozen=True, slots=True)
class PasswordAttempt:
    """A try that was taken: whose it counts for, from where, and whether it may be looked at."""

    subject: str
    counter: str
    is_locked_out: bool


def build_name_subject(work: UnitOfWork, canonical: str) -> str:
    """What stands for a name that nobody has."""
    return "name:" + compute_name_digest(work.settings.secret_key, canonical)


def count_attempt(work: UnitOfWork, *, subject: str, bucket: str) -> PasswordAttempt:
    """Count a try, before it is looked at: of many at once, those beyond the limit find it reached.

    `open` is False once all sources together had their hundred: then no password is right. Raises
    TooManyRequests for a source that has to wait, Undecided where that depends on tries of this
    moment; then nothing may be kept of the unit. An account must be locked by the caller.
    """
    counter = f"{subject} {bucket}"
    # Who waits for nothing is not compared by time: of two at once, the second may have begun
    # before the first.
    may = or_(FailedAttempts.count <= FREE_FAILURES, FailedAttempts.open_at <= work.now)
    written = _count(work, counter, subject, may=may, open_at=_compute_open_at(work.now))
    if counter not in written:
        raise _build_throttling_error(work, counter)
    return PasswordAttempt(subject, counter, is_locked_out=subject not in written)


def count_trusted_attempt(work: UnitOfWork, *, subject: str, counter: str) -> PasswordAttempt:
    """Count a try that neither waits nor depends on what others did, because `counter` is a device
    that the owner knows.

    Whether that has any tries left is asked before, see `spent`.
    """
    _count(work, counter, subject, may=true(), open_at=literal(work.now, UtcDateTime))
    return PasswordAttempt(subject, counter, is_locked_out=False)


def has_failed_at_least(counter: ColumnElement[str], count: int) -> ColumnElement[bool]:
    """Did the counter of that name have so many failures in a row?"""
    return exists().where(FailedAttempts.id == counter, FailedAttempts.count >= count)


def refund_attempt(work: UnitOfWork, attempt: PasswordAttempt) -> None:
    """The try was not looked at after all: whoever made it waits for it no more than it counts,
    unless another one came after it.
    """
    counted = _lock_in_order(
        FailedAttempts.id.in_(
            [attempt.counter] if attempt.is_locked_out else [attempt.counter, attempt.subject]
        ),
        attempt.subject,
    )
    reopened = case((FailedAttempts.last_at == work.now, work.now), else_=FailedAttempts.open_at)
    values = {
        "count": FailedAttempts.count - 1,
        "undecided": FailedAttempts.undecided - 1,
        "open_at": reopened,
    }
    work.db.execute(
        update(FailedAttempts)
        .where(counted, FailedAttempts.count > 0)
        .values(values)
        .execution_options(synchronize_session=False)
    )


def wait_for_attempts_in_flight(
    work: UnitOfWork, error: AttemptsInFlight, *, patience: float
) -> float:
    """Wait until the tries of this moment are decided, at most so many seconds.

    Returns how many that took. Hold nothing meanwhile.
    """
    waited = 0.0
    columns = select(FailedAttempts.undecided).where(FailedAttempts.id == error.counter)
    while waited < patience:
        time.sleep(POLL_SECONDS)
        waited += POLL_SECONDS
        with work.open_autocommit_session() as db:
            if not db.scalar(columns):
                break
    return waited


def record_failure(work: UnitOfWork, attempt: PasswordAttempt) -> None:
    """The try was wrong: it stays counted, and nobody need wait to hear whether it was right."""
    counter = FailedAttempts.id == attempt.counter
    work.db.execute(
        update(FailedAttempts)
        .where(counter, FailedAttempts.undecided > 0)
        .values(undecided=FailedAttempts.undecided - 1)
        .execution_options(synchronize_session=False)
    )


def clear_failures(work: UnitOfWork, attempt: PasswordAttempt) -> None:
    """The try was right: nothing has failed in a row any more. The account must be locked."""
    both = _lock_in_order(
        FailedAttempts.id.in_([attempt.counter, attempt.subject]), attempt.subject
    )
    work.db.execute(delete(FailedAttempts).where(both).execution_options(synchronize_session=False))


def clear_all_failures(work: UnitOfWork, account_id: str) -> None:
    """The password is another one: whatever was counted against the old one is over.

    The account must be locked.
    """
    mine = FailedAttempts.subject == account_id
    work.db.execute(
        delete(FailedAttempts)
        .where(_lock_in_order(mine, account_id))
        .execution_options(synchronize_session=False)
    )


def _lock_in_order(which: ColumnElement[bool], subject: str) -> ColumnElement[bool]:
    """These, locked in the order in which they are counted, the subject last: a try that is given
    back holds no account.
    """
    return FailedAttempts.id.in_(
        select(FailedAttempts.id)
        .where(which)
        .order_by(FailedAttempts.id == subject)
        .with_for_update()
    )


def _count(
    work: UnitOfWork,
    counter: str,
    subject: str,
    *,
    may: ColumnElement[bool],
    open_at: ColumnElement[datetime],
) -> Collection[str]:
    """Count one in each of the two that is open: the subject below its hundred, the counter where
    `may` holds, which opens again then.

    Returns which were counted. Always in this order, or two at once would wait for each other.
    """
    now, of_subject = work.now, FailedAttempts.id == subject
    return upsert_all(
        work.db,
        FailedAttempts,
        [
            {
                "id": one,
                "subject": subject,
                "count": 1,
                "undecided": 1,
                "open_at": now,
                "last_at": now,
            }
            for one in (counter, subject)
        ],
        update={
            "count": FailedAttempts.count + 1,
            "undecided": FailedAttempts.undecided + 1,
            "open_at": case((of_subject, now), else_=open_at),
            "last_at": now,
        },
        where=or_(and_(of_subject, FailedAttempts.count < MAX_FAILURES), and_(~of_subject, may)),
    )


def _compute_open_at(now: datetime) -> ColumnElement[datetime]:
    """When the next try may be made after one failure more than are counted."""
    steps = (
        (FailedAttempts.count == FREE_FAILURES + step, now + timedelta(seconds=delay))
        for step, delay in enumerate(DELAYS)
    )
    return case(
        (FailedAttempts.count < FREE_FAILURES, now),
        *steps,
        else_=now + timedelta(seconds=DELAYS[-1]),
    )


def _build_throttling_error(work: UnitOfWork, counter: str) -> TooManyRequests:
    columns = (
        FailedAttempts.count,
        FailedAttempts.undecided,
        FailedAttempts.open_at,
        FailedAttempts.last_at,
    )
    count, undecided, open_at, last_at = work.db.execute(
        select(*columns).where(FailedAttempts.id == counter)
    ).one()
    step = min(max(count - FREE_FAILURES, 1), len(DELAYS))
    exceeded = ExceededLimit(
        1, DELAYS[step - 1], max(1, math.ceil((open_at - work.now).total_seconds()))
    )
    if undecided and last_at > work.now - IN_FLIGHT_TIMEOUT:
        return AttemptsInFlight(POLICY, exceeded, counter)
    return TooManyRequests(POLICY, exceeded)
