"""Mail as rows, so that it leaves with the transaction that asked for it or not at all."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import Index, String, Text, and_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.adapters import secret_key
from app.adapters.database import Base, delete_batch

if TYPE_CHECKING:
    from collections.abc import Sequence


class DeliveryState(StrEnum):
    QUEUED = "queued"
    SENT = "sent"
    DEAD = "dead"
    WITHHELD = "withheld"  # never to be sent: a row like any other, so that asking costs the same
    MAILBOX = "mailbox"  # shown on the mailbox page of development


class Delivery(Base):
    __tablename__ = "outbox"
    __table_args__ = (Index("ix_outbox_state_due_at", "state", "due_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    template: Mapped[str] = mapped_column(String(32))
    sealed: Mapped[str | None] = mapped_column(Text)  # erased once it was sent or given up
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    lease: Mapped[str | None] = mapped_column(String(32))
    ended_at: Mapped[datetime | None]
    fault: Mapped[str | None] = mapped_column(String(128))


def delete_old_deliveries(db: Session, now: datetime, limit: int) -> int:
    """What was sent, given up or shown a week ago; never what still waits."""
    over = and_(
        Delivery.state != DeliveryState.QUEUED, Delivery.created_at < now - timedelta(days=7)
    )
    return delete_batch(db, Delivery, over, limit)


def rewrap_deliveries(db: Session, keys: Sequence[str]) -> tuple[int, int]:
    """Seal what still waits under the newest key. Returns how many messages were sealed anew, and how many cannot be opened."""
    anew = lost = 0
    for row in db.scalars(select(Delivery).where(Delivery.sealed.is_not(None)).with_for_update()):
        try:
            sealed = secret_key.reseal_if_outdated(
                keys, sealing.KeyPurpose.OUTBOX, row.sealed or "", row.id
            )
        except sealing.UnsealError:
            lost += 1
            continue
        if sealed is not None:
            row.sealed, anew = sealed, anew + 1
    return anew, lost
