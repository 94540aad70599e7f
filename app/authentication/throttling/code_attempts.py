"""Throttling of user codes (RFC 8628 section 5.1).

A code has 34 bits. After five wrong codes within the window, an account and its source must wait
for the end of the window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import case, func, or_, select, update

from app.adapters.rate_limiter import ExceededLimit
from app.adapters.statements import upsert_all
from app.authentication.throttling.models import FailedAttempts
from app.rate_limits.errors import TooManyRequests

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

MAX_ATTEMPTS = 5
WINDOW = timedelta(minutes=10)
POLICY = "user_code"


@dataclass(frozen=True, slots=True)
class CodeAttempt:
    """A counted attempt and its two counters."""

    counters: tuple[str, str]


def count_code_attempt(work: UnitOfWork, *, account_id: str, bucket: str) -> CodeAttempt:
    """Count an attempt before the code is verified, so that concurrent ones stay within the limit.

    Raises TooManyRequests.
    """
    counters = (f"code {account_id}", f"code {bucket}")
    over, ends = FailedAttempts.open_at <= work.now, work.now + WINDOW
    written = upsert_all(
        work.db,
        FailedAttempts,
        [
            {
                "id": one,
                "subject": one,
                "count": 1,
                "undecided": 0,
                "open_at": ends,
                "last_at": work.now,
            }
            for one in counters
        ],
        update={
            "count": case((over, 1), else_=FailedAttempts.count + 1),
            "open_at": case((over, ends), else_=FailedAttempts.open_at),
            "last_at": work.now,
        },
        where=or_(over, FailedAttempts.count < MAX_ATTEMPTS),
    )
    if len(written) < len(counters):
        refused = set(counters) - set(written)
        raise TooManyRequests(
            POLICY,
            ExceededLimit(MAX_ATTEMPTS, int(WINDOW.total_seconds()), _seconds_left(work, refused)),
        )
    return CodeAttempt(counters)


def refund_code_attempt(work: UnitOfWork, attempt: CodeAttempt) -> None:
    """Undo the count of an attempt with a correct code."""
    work.db.execute(
        update(FailedAttempts)
        .where(FailedAttempts.id.in_(attempt.counters), FailedAttempts.count > 0)
        .values(count=FailedAttempts.count - 1)
        .execution_options(synchronize_session=False)
    )


def _seconds_left(work: UnitOfWork, counters: set[str]) -> int:
    ends = work.db.scalar(
        select(func.max(FailedAttempts.open_at)).where(FailedAttempts.id.in_(counters))
    )
    return (
        max(1, math.ceil((ends - work.now).total_seconds()))
        if ends is not None
        else int(WINDOW.total_seconds())
    )
