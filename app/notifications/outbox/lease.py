"""Lease due deliveries to one process at a time, and record the outcome.

A delivery is leased before it is sent and its payload is erased afterwards. If a process dies in
between, its lease runs out and the delivery is sent again: at least once, never silently lost.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, select, update

from app.adapters import logs
from app.notifications.outbox.models import Delivery, DeliveryKind, DeliveryState
from app.opaque_tokens import generate_id

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.orm import Session

    from app.unit_of_work import UnitOfWork

LEASE_DURATION = timedelta(seconds=90)
# The retries span most of a day. Links in emails have expired by then.
RETRY_DELAYS = tuple(
    timedelta(seconds=s) for s in (5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 14400, 14400)
)
MAX_ATTEMPTS = len(RETRY_DELAYS) + 1

log = logs.get_logger("outbox")


def claim_next(work: UnitOfWork, kind: DeliveryKind) -> Delivery | None:
    """Lease the next due delivery of a kind. Return None if nothing is due.

    The caller commits the lease before it touches the delivery. A delivery that crashes the
    sender therefore uses up an attempt and cannot block the others.
    """
    while (row := _lease_due(work.db, work.now, kind)) is not None:
        if row.attempts <= MAX_ATTEMPTS:
            return row
        mark_dead(work, row, row.fault or "no attempt reported an outcome")
    return None


def _lease_due(db: Session, now: datetime, kind: DeliveryKind) -> Delivery | None:
    """Lease one due delivery. On PostgreSQL, concurrent callers skip rows that are being leased."""
    due = (
        select(Delivery.id)
        .where(
            Delivery.state == DeliveryState.QUEUED, Delivery.due_at <= now, Delivery.kind == kind
        )
        .order_by(Delivery.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    return db.execute(
        update(Delivery)
        .where(Delivery.id == due)
        .values(
            lease=generate_id("lse"), due_at=now + LEASE_DURATION, attempts=Delivery.attempts + 1
        )
        .returning(Delivery)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()


def lock_leased(work: UnitOfWork, leased: Delivery) -> Delivery | None:
    """Lock the row of a lease. Return None if the lease ran out and another process took over."""
    is_held = and_(
        Delivery.id == leased.id,
        Delivery.lease == leased.lease,
        Delivery.state == DeliveryState.QUEUED,
    )
    return work.db.execute(select(Delivery).where(is_held).with_for_update()).scalar_one_or_none()


def mark_sent(work: UnitOfWork, row: Delivery) -> None:
    _finish(work, row, DeliveryState.SENT, fault=None)


def schedule_retry(work: UnitOfWork, row: Delivery, fault: str) -> None:
    """Schedule the next attempt, or mark the delivery dead after the last one."""
    if row.attempts >= MAX_ATTEMPTS:
        mark_dead(work, row, fault)
        return
    row.due_at, row.lease, row.fault = work.now + RETRY_DELAYS[row.attempts - 1], None, fault
    _log_failure("delivery postponed", row, fault)


def mark_dead(work: UnitOfWork, row: Delivery, fault: str) -> None:
    """Stop retrying."""
    _finish(work, row, DeliveryState.DEAD, fault=fault)
    _log_failure("delivery abandoned", row, fault)


def _finish(work: UnitOfWork, row: Delivery, state: DeliveryState, *, fault: str | None) -> None:
    """Record the final state and erase the payload, which may contain a link that still works."""
    row.state, row.sealed, row.lease, row.ended_at, row.fault = state, None, None, work.now, fault


def _log_failure(event: str, row: Delivery, fault: str) -> None:
    log.warning(
        event,
        message_id=row.id,
        kind=row.kind,
        template=row.template,
        attempts=row.attempts,
        fault=fault,
    )
