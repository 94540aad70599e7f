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
from app.notifications.mail.render import message, render
from app.notifications.outbox.enqueue import opened
from app.notifications.outbox.models import OutboxMessage, State
from app.opaque_tokens import new_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from email.message import EmailMessage

    from sqlalchemy.orm import Session

    from app.unit_of_work import UnitOfWork, UnitOfWorkFactory

LEASE = timedelta(seconds=90)
# An outage of most of a day is survived; links that are older than that no longer work anyway.
BACK_OFF = tuple(
    timedelta(seconds=s) for s in (5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 14400, 14400)
)
MOST_ATTEMPTS = len(BACK_OFF) + 1

log = logs.get_logger("outbox")


def deliver(units: UnitOfWorkFactory, *, ending: Callable[[], bool] = lambda: False) -> int:
    """Send everything that is due, or until this process is `ending`. Returns how many messages were handed over."""
    sent = 0
    with Mailer(units.settings.smtp_url or "") as mailer:
        while not ending() and (leased := _lease_one(units)) is not None:
            mime = _written(units, leased)
            if mime is None:
                continue
            try:
                mailer.send(mime)
            except NotDelivered as error:
                _postpone(units, leased, error)
                if error.away:
                    break
            else:
                _done(units, leased)
                sent += 1
    return sent


def _lease_one(units: UnitOfWorkFactory) -> OutboxMessage | None:
    """The next message that nobody else is sending, None when nothing is due.

    The lease is kept before anything is done with the message: one that no code can send or even read costs a try,
    and never stands in the way of the others.
    """
    with units.writing() as work:
        while (row := claim(work.db, work.now)) is not None and row.attempts > MOST_ATTEMPTS:
            _give_up(row, work, row.fault or "every try ended without a word")
        return row


def _written(units: UnitOfWorkFactory, leased: OutboxMessage) -> EmailMessage | None:
    """The message as it goes over the wire; None when it can never be read again."""
    with units.writing() as work:
        try:
            mail = opened(work, leased.id, leased.sealed or "")
        except CannotUnseal as error:
            row = _mine(work.db, leased)
            if row is not None:
                _give_up(row, work, str(error))
            return None
        return message(
            work.settings,
            render(work.settings, leased.template, mail),
            row_id=leased.id,
            at=leased.created_at,
        )


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


def _postpone(units: UnitOfWorkFactory, leased: OutboxMessage, error: NotDelivered) -> None:
    with units.writing() as work:
        row = _mine(work.db, leased)
        if row is None:
            return
        if error.final or row.attempts >= MOST_ATTEMPTS:
            _give_up(row, work, str(error))
            return
        row.due_at, row.lease, row.fault = work.now + BACK_OFF[row.attempts - 1], None, str(error)
        log.warning(
            "mail postponed",
            message_id=row.id,
            template=row.template,
            attempts=row.attempts,
            fault=str(error),
        )


def _done(units: UnitOfWorkFactory, leased: OutboxMessage) -> None:
    with units.writing() as work:
        row = _mine(work.db, leased)
        if row is not None:
            _end(row, work, State.SENT, fault=None)


def _mine(db: Session, leased: OutboxMessage) -> OutboxMessage | None:
    """The row, unless the lease ended and somebody else has it by now."""
    mine = and_(
        OutboxMessage.id == leased.id,
        OutboxMessage.lease == leased.lease,
        OutboxMessage.state == State.QUEUED,
    )
    return db.execute(select(OutboxMessage).where(mine).with_for_update()).scalar_one_or_none()


def _give_up(row: OutboxMessage, work: UnitOfWork, fault: str) -> None:
    _end(row, work, State.DEAD, fault=fault)
    log.warning(
        "mail given up",
        message_id=row.id,
        template=row.template,
        attempts=row.attempts,
        fault=fault,
    )


def _end(row: OutboxMessage, work: UnitOfWork, state: State, *, fault: str | None) -> None:
    """Erase what was mailed: it may hold a link that still works."""
    row.state, row.sealed, row.lease, row.ended_at, row.fault = state, None, None, work.now, fault
