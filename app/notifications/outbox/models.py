"""The outbox: deliveries as rows, so that they are sent only if their transaction commits."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import Index, String, Text, and_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.adapters import encryption
from app.adapters.database import Base
from app.adapters.statements import delete_batch

if TYPE_CHECKING:
    from collections.abc import Sequence

RETENTION = timedelta(days=7)


class DeliveryKind(StrEnum):
    """The kind of a delivery. Each kind has a sender in `app.notifications.deliver.SENDERS`."""

    EMAIL = "email"


class DeliveryState(StrEnum):
    QUEUED = "queued"
    SENT = "sent"
    DEAD = "dead"
    WITHHELD = "withheld"  # never sent; the row exists so that both answers cost the same
    MAILBOX = "mailbox"  # shown on the development mailbox page


class Delivery(Base):
    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_state_due_at", "state", "due_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    # The server default lets processes of the previous version insert rows during an upgrade.
    kind: Mapped[str] = mapped_column(String(16), server_default=DeliveryKind.EMAIL.value)
    template: Mapped[str] = mapped_column(String(32))
    sealed: Mapped[str | None] = mapped_column(Text)  # erased once the delivery is sent or dead
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    lease: Mapped[str | None] = mapped_column(String(32))
    ended_at: Mapped[datetime | None]
    fault: Mapped[str | None] = mapped_column(String(128))


def delete_old_deliveries(db: Session, now: datetime, limit: int) -> int:
    """Delete deliveries older than a week, except those that are still queued. Return how many."""
    is_old = and_(Delivery.state != DeliveryState.QUEUED, Delivery.created_at < now - RETENTION)
    return delete_batch(db, Delivery, is_old, limit)


def rewrap_deliveries(db: Session, keys: Sequence[str]) -> tuple[int, int]:
    """Seal every stored payload under the newest secret key.

    Return how many were sealed again, and how many cannot be opened with any of the keys.
    """
    rewrapped = lost = 0
    for row in db.scalars(select(Delivery).where(Delivery.sealed.is_not(None)).with_for_update()):
        try:
            sealed = encryption.reseal_if_outdated(
                keys, encryption.KeyPurpose.OUTBOX, row.sealed or "", row.id
            )
        except encryption.UnsealError:
            lost += 1
            continue
        if sealed is not None:
            row.sealed, rewrapped = sealed, rewrapped + 1
    return rewrapped, lost
