"""Throttling of password attempts, with durable counters.

Each source waits longer after each failure, so that a guesser delays only themselves. After a
hundred consecutive failures from all sources, the password is locked until it is reset (NIST SP
800-63B-4 section 3.2.2). Unknown names are counted too, under a keyed digest, so that delays do not
reveal which accounts exist.
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import String, bindparam, case, delete, exists, or_, select, text, update

from app.adapters.database import UtcDateTime
from app.adapters.encryption import compute_name_digest
from app.adapters.rate_limiter import ExceededLimit
from app.adapters.statements import PreparedStatement
from app.authentication.throttling.models import FailedAttempts
from app.rate_limits.errors import AttemptsInFlight, TooManyRequests

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import BindParameter, ColumnElement, TextClause

    from app.unit_of_work import UnitOfWork

FREE_FAILURES = 4  # without any delay
# Seconds after the fifth failure, the sixth and so on.
DELAYS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900)  # fmt: skip
MAX_FAILURES = 100  # consecutive failures from all sources
POLICY = "password"
POLL_SECONDS = 0.05
# An older undecided attempt is abandoned: its process has died.
IN_FLIGHT_TIMEOUT = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class PasswordAttempt:
    """A counted attempt."""

    subject: str
    counter: str
    is_locked_out: bool


def build_name_subject(work: UnitOfWork, canonical: str) -> str:
    """Return the subject that counts attempts for a name without an account."""
    return "name:" + compute_name_digest(work.settings.secret_key, canonical)


def count_attempt(work: UnitOfWork, *, subject: str, bucket: str) -> PasswordAttempt:
    """Count an attempt before the password is verified, so that concurrent ones stay within limits.

    The attempt is locked out if all sources together have used their hundred failures. The account
    must be locked. Raises TooManyRequests if the source must wait, or AttemptsInFlight if that
    depends on undecided attempts; then roll back.
    """
    counter = f"{subject} {bucket}"
    written = _count(work, COUNT_ATTEMPT, counter, subject)
    if counter not in written:
        raise _build_throttling_error(work, counter)
    return PasswordAttempt(subject, counter, is_locked_out=subject not in written)


def count_trusted_attempt(work: UnitOfWork, *, subject: str, counter: str) -> PasswordAttempt:
    """Count an attempt from a trusted device. It neither waits nor is locked out.

    Check the device's own limit first with `has_failed_at_least`.
    """
    _count(work, COUNT_TRUSTED_ATTEMPT, counter, subject)
    return PasswordAttempt(subject, counter, is_locked_out=False)


def has_failed_at_least(counter: ColumnElement[str], count: int) -> ColumnElement[bool]:
    """Build the condition that a counter has reached a number of consecutive failures."""
    return exists().where(FailedAttempts.id == counter, FailedAttempts.count >= count)


def refund_attempt(work: UnitOfWork, attempt: PasswordAttempt) -> None:
    """Undo the count of an attempt whose password was not verified.

    The source may try again at once, unless a later attempt was counted.
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
    """Wait until the attempts in flight are decided, for at most `patience` seconds.

    Returns the seconds waited. Release the connection first.
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
    """Mark a failed attempt as decided, so that no request waits for it."""
    counter = FailedAttempts.id == attempt.counter
    work.db.execute(
        update(FailedAttempts)
        .where(counter, FailedAttempts.undecided > 0)
        .values(undecided=FailedAttempts.undecided - 1)
        .execution_options(synchronize_session=False)
    )


def clear_failures(work: UnitOfWork, attempt: PasswordAttempt) -> None:
    """Clear the counters after a successful attempt. The account must be locked."""
    CLEAR_FAILURES.execute(work.db, {"counter": attempt.counter, "subject": attempt.subject})


def clear_all_failures(work: UnitOfWork, account_id: str) -> None:
    """Clear every counter of an account after its password has changed.

    The account must be locked.
    """
    mine = FailedAttempts.subject == account_id
    work.db.execute(
        delete(FailedAttempts)
        .where(_lock_in_order(mine, account_id))
        .execution_options(synchronize_session=False)
    )


def _lock_in_order(
    which: ColumnElement[bool], subject: str | BindParameter[str]
) -> ColumnElement[bool]:
    """Lock counters in the order of counting, the subject last, to avoid deadlocks."""
    return FailedAttempts.id.in_(
        select(FailedAttempts.id)
        .where(which)
        .order_by(FailedAttempts.id == subject)
        .with_for_update()
    )


def _count(work: UnitOfWork, statement: TextClause, counter: str, subject: str) -> Collection[str]:
    """Increment the counter of the source if it may try, and of the subject below the maximum.

    Returns the counters that were incremented. The order is always the same, to avoid deadlocks.
    """
    parameters: dict[str, object] = {"counter": counter, "subject": subject, "now": work.now}
    if statement is COUNT_ATTEMPT:
        for step, delay in enumerate(DELAYS):
            parameters[f"later_{step}"] = work.now + timedelta(seconds=delay)
    return work.db.connection().execute(statement, parameters).scalars().all()


def _prepare_count(*, may: str, open_at: str) -> TextClause:
    """Prepare the statement that increments a counter if `may` holds, and that of its subject.

    It is text because SQLAlchemy compiles an INSERT of several rows on each execution, which takes
    longer than all other statements of a login.
    """
    statement = f"""
        INSERT INTO failed_attempts AS held (id, subject, count, undecided, open_at, last_at)
        VALUES (:counter, :subject, 1, 1, :now, :now), (:subject, :subject, 1, 1, :now, :now)
        ON CONFLICT (id) DO UPDATE SET
            count = held.count + 1,
            undecided = held.undecided + 1,
            open_at = CASE WHEN held.id = :subject THEN :now ELSE {open_at} END,
            last_at = :now
        WHERE CASE WHEN held.id = :subject THEN held.count < {MAX_FAILURES} ELSE {may} END
        RETURNING id
    """  # noqa: S608 - only constants of this module
    times = {"now", *re.findall(r":(later_\d+)", statement)}
    return text(statement).bindparams(
        bindparam("counter", type_=String),
        bindparam("subject", type_=String),
        *(bindparam(name, type_=UtcDateTime) for name in times),
    )


# When the next attempt is allowed after one more failure.
NEXT_OPENING = "CASE WHEN held.count < {free} THEN :now {steps} ELSE :later_{last} END".format(
    free=FREE_FAILURES,
    steps=" ".join(
        f"WHEN held.count = {FREE_FAILURES + step} THEN :later_{step}"
        for step in range(len(DELAYS))
    ),
    last=len(DELAYS) - 1,
)
COUNT_ATTEMPT = _prepare_count(
    # Free attempts are not compared by time, because concurrent ones may be counted out of order.
    may=f"held.count <= {FREE_FAILURES} OR held.open_at <= :now",
    open_at=NEXT_OPENING,
)
COUNT_TRUSTED_ATTEMPT = _prepare_count(may="TRUE", open_at=":now")
COUNTER, SUBJECT = bindparam("counter", type_=String), bindparam("subject", type_=String)
CLEAR_FAILURES = PreparedStatement(
    lambda _dialect: delete(FailedAttempts).where(
        _lock_in_order(or_(FailedAttempts.id == COUNTER, FailedAttempts.id == SUBJECT), SUBJECT)
    )
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
