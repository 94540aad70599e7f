"""Send what is due in the outbox, from any number of processes at once."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from app.adapters.encryption import UnsealError
from app.adapters.mailer import DeliveryError
from app.notifications.mail.send import open_email_sender
from app.notifications.outbox.lease import (
    claim_next,
    lock_leased,
    mark_dead,
    mark_sent,
    schedule_retry,
)
from app.notifications.outbox.models import Delivery, DeliveryKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.settings import Settings
    from app.unit_of_work import UnitOfWork, UnitOfWorkFactory

    # A sender prepares a delivery inside a unit of work and returns the call that sends it, which
    # runs while no transaction is open. Preparing raises UnsealError, sending raises DeliveryError.
    Sender = Callable[[UnitOfWork, Delivery], Callable[[], None]]
    OpenSender = Callable[[Settings], AbstractContextManager[Sender]]

SENDERS: Mapping[DeliveryKind, OpenSender] = {DeliveryKind.EMAIL: open_email_sender}


def deliver_due(
    units: UnitOfWorkFactory, *, is_stopping: Callable[[], bool] = lambda: False
) -> int:
    """Send due deliveries until none is left or the process stops. Return how many were sent."""
    sent = 0
    for kind, open_sender in SENDERS.items():
        with open_sender(units.settings) as sender:
            sent += _deliver_kind(units, kind, sender, is_stopping)
    return sent


def _deliver_kind(
    units: UnitOfWorkFactory, kind: DeliveryKind, sender: Sender, is_stopping: Callable[[], bool]
) -> int:
    sent = 0
    while not is_stopping() and (leased := _lease(units, kind)) is not None:
        send = _prepare(units, leased, sender)
        if send is None:
            continue
        try:
            send()
        except DeliveryError as error:
            _record_failure(units, leased, error)
            if error.is_server_unavailable:
                break
        else:
            _record_success(units, leased)
            sent += 1
    return sent


def _lease(units: UnitOfWorkFactory, kind: DeliveryKind) -> Delivery | None:
    with units.open_read_write() as work:
        return claim_next(work, kind)


def _prepare(
    units: UnitOfWorkFactory, leased: Delivery, sender: Sender
) -> Callable[[], None] | None:
    """Return the call that sends the delivery, or None after marking an unreadable one dead."""
    with units.open_read_write() as work:
        try:
            return sender(work, leased)
        except UnsealError as error:
            row = lock_leased(work, leased)
            if row is not None:
                mark_dead(work, row, str(error))
            return None


def _record_failure(units: UnitOfWorkFactory, leased: Delivery, error: DeliveryError) -> None:
    with units.open_read_write() as work:
        row = lock_leased(work, leased)
        if row is None:
            return
        if error.is_permanent:
            mark_dead(work, row, str(error))
        else:
            schedule_retry(work, row, str(error))


def _record_success(units: UnitOfWorkFactory, leased: Delivery) -> None:
    with units.open_read_write() as work:
        row = lock_leased(work, leased)
        if row is not None:
            mark_sent(work, row)
