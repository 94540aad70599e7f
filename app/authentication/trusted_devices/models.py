"""Trusted devices.

The token of a trusted device is valid for 30 days. It grants no access: it exempts its owner from
throttling caused by others.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.adapters.database import Base
from app.adapters.statements import delete_batch


class TrustedDevice(Base):
    __tablename__ = "devices"
    __table_args__ = (
        Index("ix_devices_account_id", "account_id"),
        Index("ix_devices_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("accounts.id", ondelete="CASCADE")
    )
    digest: Mapped[str] = mapped_column(String(64))
    name: Mapped[str | None] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(256))
    address: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime]
    expires_at: Mapped[datetime]


def delete_expired(db: Session, now: datetime, limit: int) -> int:
    return delete_batch(db, TrustedDevice, TrustedDevice.expires_at < now, limit)
