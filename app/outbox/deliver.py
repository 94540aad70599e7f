"""Handing mail over, from any number of processes at once.

A message is leased before it is sent and erased after. A process that dies between the two leaves a lease that ends,
so the message is sent again, with the Message-ID it had: at least once, never silently lost.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, select, update

from app.adapters import logs
from app.adapters.mailer import Mailer, NotDelivered
from app.adapters.sealing import CannotUnseal
from app.opaque_tokens import new_id
from app.outbox.add import opened
from app.outbox.models import OutboxMessage, State
from app.outbox.render import message, render

if TYPE_CHECKING:
    from datetime import datetime
    from email.message import EmailMessage

    from sqlalchemy.orm import Session

    from app.unit_of_work import UnitOfWork, Units

LEASE = timedelta(seconds=90)
# An outage of most of a day is survived; links that are older than that no longer work anyway.
BACK_OFF = tuple(timedelta(seconds=s) for s in (5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 14400, 14400))

log = logs.get_logger("outbox")


def deliver(units: Units) -> int:
    """Send everything that is due, or until the process is to end. Returns how many messages were handed over."""
    sent = 0
    with Mailer(units.settings.smtp_url or "") as mailer:
        while not units.draining.is_set() and (leased := _lease_one(units)) is not None:
            row_id, lease, mime = leased
            try:
                mailer.send(mime)
            except NotDelivered as error:
                _postpone(units, row_id, lease, error)
                if error.away:
                    break
            else:
                _done(units, row_id, lease)
                sent += 1
    return sent


def _lease_one(units: Units) -> tuple[str, str, EmailMessage] | None:
    """The next message that nobody else is sending, None when nothing is due."""
    with units.writing() as work:
        while (row := claim(work.db, work.now)) is not None:
            try:
                mail = opened(work, row.id, row.sealed or "")
            except CannotUnseal as error:
                _end(row, work, State.DEAD, fault=str(error))
                log.warning("mail given up", message_id=row.id, template=row.template, fault=str(error))
                continue
            return (
                row.id,
                row.lease or "",
                message(work.settings, render(work.settings, row.template, mail), row_id=row.id, at=row.created_at),
            )
    return None


def claim(db: Session, now: datetime) -> OutboxMessage | None:
    """Lease one message that is due. On PostgreSQL the others step over the row that is being leased."""
    due = (
        select(OutboxMessage.id)
        .where(OutboxMessage.state == State.QUEUED, OutboxMessage.due_at <= now)
        .order_by(OutboxMessage.due_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    return db.execute(
        update(OutboxMessage)
        .where(OutboxMessage.id == due)
        .values(lease=new_id("lse"), due_at=now + LEASE, attempts=OutboxMessage.attempts + 1)
        .returning(OutboxMessage)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()


def _postpone(units: Units, row_id: str, lease: str, error: NotDelivered) -> None:
    with units.writing() as work:
        row = _mine(work.db, row_id, lease)
        if row is None:
            return
        if error.final or row.attempts > len(BACK_OFF):
            _end(row, work, State.DEAD, fault=str(error))
            log.warning("mail given up", message_id=row_id, template=row.template, attempts=row.attempts, fault=str(error))
            return
        row.due_at, row.lease, row.fault = work.now + BACK_OFF[row.attempts - 1], None, str(error)
        log.warning("mail postponed", message_id=row_id, template=row.template, attempts=row.attempts, fault=str(error))


def _done(units: Units, row_id: str, lease: str) -> None:
    with units.writing() as work:
        row = _mine(work.db, row_id, lease)
        if row is not None:
            _end(row, work, State.SENT, fault=None)


def _mine(db: Session, row_id: str, lease: str) -> OutboxMessage | None:
    """The row, unless the lease ended and somebody else has it by now."""
    mine = and_(OutboxMessage.id == row_id, OutboxMessage.lease == lease, OutboxMessage.state == State.QUEUED)
    return db.execute(select(OutboxMessage).where(mine).with_for_update()).scalar_one_or_none()


def _end(row: OutboxMessage, work: UnitOfWork, state: State, *, fault: str | None) -> None:
    """Erase what was mailed: it may hold a link that still works."""
    row.state, row.sealed, row.lease, row.ended_at, row.fault = state, None, None, work.now, fault
