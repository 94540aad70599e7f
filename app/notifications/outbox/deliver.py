"""Handing mail over, from any number of processes at once.

A message is leased before it is sent and erased after. A process that dies between the two leaves a lease that ends,
so the message is sent again, with the Message-ID it had: at least once, never silently lost.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, select, update

from app.adapters import logs
from app.adapters.mailer import DeliveryError, Mailer
from app.adapters.secret_key import UnsealError
from app.notifications.mail.enqueue import unseal_email
from app.notifications.mail.render import build_mime_message, render_email
from app.notifications.outbox.models import Delivery, DeliveryState
from app.opaque_tokens import generate_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from email.message import EmailMessage

    from sqlalchemy.orm import Session

    from app.unit_of_work import UnitOfWork, UnitOfWorkFactory

LEASE_DURATION = timedelta(seconds=90)
# An outage of most of a day is survived; links that are older than that no longer work anyway.
RETRY_DELAYS = tuple(
    timedelta(seconds=s) for s in (5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 14400, 14400)
)
MAX_ATTEMPTS = len(RETRY_DELAYS) + 1

log = logs.get_logger("outbox")


def deliver_due(
    units: UnitOfWorkFactory, *, is_stopping: Callable[[], bool] = lambda: False
) -> int:
    """Send everything that is due, or until this process is `ending`. Returns how many messages were handed over."""
    sent = 0
    with Mailer(units.settings.smtp_url or "") as mailer:
        while not is_stopping() and (leased := _lease_next(units)) is not None:
            mime = _build_message(units, leased)
            if mime is None:
                continue
            try:
                mailer.send(mime)
            except DeliveryError as error:
                _postpone(units, leased, error)
                if error.is_server_unavailable:
                    break
            else:
                _mark_sent(units, leased)
                sent += 1
    return sent


def _lease_next(units: UnitOfWorkFactory) -> Delivery | None:
    """The next message that nobody else is sending, None when nothing is due.

    The lease is kept before anything is done with the message: one that no code can send or even read costs a try,
    and never stands in the way of the others.
    """
    with units.open_read_write() as work:
        while (
            row := lease_due_delivery(work.db, work.now)
        ) is not None and row.attempts > MAX_ATTEMPTS:
            _mark_dead(row, work, row.fault or "every try ended without a word")
        return row


def _build_message(units: UnitOfWorkFactory, leased: Delivery) -> EmailMessage | None:
    """The message as it goes over the wire; None when it can never be read again."""
    with units.open_read_write() as work:
        try:
            mail = unseal_email(work, leased.id, leased.sealed or "")
        except UnsealError as error:
            row = _lock_leased(work.db, leased)
            if row is not None:
                _mark_dead(row, work, str(error))
            return None
        return build_mime_message(
            work.settings,
            render_email(work.settings, leased.template, mail),
            row_id=leased.id,
            at=leased.created_at,
        )


def lease_due_delivery(db: Session, now: datetime) -> Delivery | None:
    """Lease one message that is due. On PostgreSQL the others step over the row that is being leased."""
    due = (
        select(Delivery.id)
        .where(Delivery.state == DeliveryState.QUEUED, Delivery.due_at <= now)
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


def _postpone(units: UnitOfWorkFactory, leased: Delivery, error: DeliveryError) -> None:
    with units.open_read_write() as work:
        row = _lock_leased(work.db, leased)
        if row is None:
            return
        if error.is_permanent or row.attempts >= MAX_ATTEMPTS:
            _mark_dead(row, work, str(error))
            return
        row.due_at, row.lease, row.fault = (
            work.now + RETRY_DELAYS[row.attempts - 1],
            None,
            str(error),
        )
        log.warning(
            "mail postponed",
            message_id=row.id,
            template=row.template,
            attempts=row.attempts,
            fault=str(error),
        )


def _mark_sent(units: UnitOfWorkFactory, leased: Delivery) -> None:
    with units.open_read_write() as work:
        row = _lock_leased(work.db, leased)
        if row is not None:
            _finish(row, work, DeliveryState.SENT, fault=None)


def _lock_leased(db: Session, leased: Delivery) -> Delivery | None:
    """The row, unless the lease ended and somebody else has it by now."""
    mine = and_(
        Delivery.id == leased.id,
        Delivery.lease == leased.lease,
        Delivery.state == DeliveryState.QUEUED,
    )
    return db.execute(select(Delivery).where(mine).with_for_update()).scalar_one_or_none()


def _mark_dead(row: Delivery, work: UnitOfWork, fault: str) -> None:
    _finish(row, work, DeliveryState.DEAD, fault=fault)
    log.warning(
        "mail given up",
        message_id=row.id,
        template=row.template,
        attempts=row.attempts,
        fault=fault,
    )


def _finish(row: Delivery, work: UnitOfWork, state: DeliveryState, *, fault: str | None) -> None:
    """Erase what was mailed: it may hold a link that still works."""
    row.state, row.sealed, row.lease, row.ended_at, row.fault = state, None, None, work.now, fault
