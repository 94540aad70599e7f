"""Registrations that are not confirmed. The account exists only after confirmation.

A registration reserves its username. Email addresses are not unique here, so that no registration
blocks an address. An address that belongs to an account gets a row too, which nothing confirms:
without it, registering the same username twice would reveal whether the address is known.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.adapters.database import Base
from app.adapters.statements import delete_batch


class PendingRegistration(Base):
    __tablename__ = "pending_registrations"
    __table_args__ = (
        UniqueConstraint("username"),
        Index("ix_pending_registrations_email_canonical", "email_canonical"),
        Index("ix_pending_registrations_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)  # the `registration` handle
    username: Mapped[str] = mapped_column(String(32))
    email: Mapped[str] = mapped_column(String(254))
    email_canonical: Mapped[str] = mapped_column(String(254))
    name: Mapped[str] = mapped_column(String(128))
    locale: Mapped[str] = mapped_column(String(35))
    # Granted when the account opens. A registration with a role is confirmed only by its link.
    role: Mapped[str | None] = mapped_column(String(32))
    password_hash: Mapped[str | None] = mapped_column(String(256))
    code_digest: Mapped[str] = mapped_column(String(64))
    code_expires_at: Mapped[datetime]
    tries: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


def delete_expired(db: Session, now: datetime, limit: int) -> int:
    return delete_batch(db, PendingRegistration, PendingRegistration.expires_at < now, limit)
