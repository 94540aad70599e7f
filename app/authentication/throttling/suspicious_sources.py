"""Throttling of sources whose session or device login was reported as suspicious.

For a day, such a source may start device logins only rarely.
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
    """Flag the source of a session for a day."""
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
    """Remove the flag of a session. Flags of other sessions of the source stay."""
    work.db.execute(
        delete(FailedAttempts)
        .where(FailedAttempts.id == _build_flag_id(session_id))
        .execution_options(synchronize_session=False)
    )


def limit_suspicious_source(work: UnitOfWork, client_info: ClientInfo) -> None:
    """Apply the stricter limit to a flagged source. Raises TooManyRequests."""
    marked = exists().where(
        FailedAttempts.subject == _build_flag_subject(client_info.bucket),
        FailedAttempts.open_at > work.now,
    )
    # Outside the transaction, so that no connection is held while Redis counts.
    with work.open_autocommit_session() as db:
        is_flagged = db.scalar(select(marked))
    if not is_flagged:
        return
    exceeded = work.limiter.hit(FLAGGED_SOURCE_LIMIT, POLICY, client_info.bucket)
    if exceeded is not None:
        raise TooManyRequests(POLICY, exceeded)


def _build_flag_id(session_id: str) -> str:
    """Return an id per session, so that removing one flag keeps the others."""
    return f"suspect {session_id}"


def _build_flag_subject(bucket: str) -> str:
    return f"suspect {bucket}"
