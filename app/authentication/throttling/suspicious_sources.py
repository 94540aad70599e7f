"""Sources of which somebody said that they were not who they seemed: for a day they may ask to be
let in only now and then.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, exists, select, true

from app.adapters.statements import upsert_all
from app.authentication.throttling.models import FailedAttempts
from app.rate_limits.errors import TooManyRequests

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork

FLAG_LIFETIME = timedelta(days=1)
FLAGGED_SOURCE_LIMIT = "1/10 minute"
POLICY = "suspect"


def flag_suspicious_source(work: UnitOfWork, *, session_id: str, bucket: str) -> None:
    """That session, which came from there, was called suspicious."""
    until = work.now + FLAG_LIFETIME
    row = {
        "id": _build_flag_id(session_id),
        "subject": _build_flag_subject(bucket),
        "count": 1,
        "undecided": 0,
        "open_at": until,
        "last_at": work.now,
    }
    again = {"subject": _build_flag_subject(bucket), "open_at": until, "last_at": work.now}
    upsert_all(work.db, FailedAttempts, [row], update=again, where=true())


def unflag_suspicious_source(work: UnitOfWork, *, session_id: str) -> None:
    """That session was not suspicious after all. What others are suspected of stays."""
    work.db.execute(
        delete(FailedAttempts)
        .where(FailedAttempts.id == _build_flag_id(session_id))
        .execution_options(synchronize_session=False)
    )


def limit_suspicious_source(work: UnitOfWork, client_info: ClientInfo) -> None:
    """Let a suspect source ask only now and then. Raises TooManyRequests."""
    marked = exists().where(
        FailedAttempts.subject == _build_flag_subject(client_info.bucket),
        FailedAttempts.open_at > work.now,
    )
    with (
        work.open_autocommit_session() as db
    ):  # so that nothing is held while the limit is asked for
        held_back = db.scalar(select(marked))
    if not held_back:
        return
    exceeded = work.limiter.hit(FLAGGED_SOURCE_LIMIT, POLICY, client_info.bucket)
    if exceeded is not None:
        raise TooManyRequests(POLICY, exceeded)


def _build_flag_id(session_id: str) -> str:
    """Each session has a mark of its own, so that taking one back takes no other along."""
    return f"suspect {session_id}"


def _build_flag_subject(bucket: str) -> str:
    return f"suspect {bucket}"
