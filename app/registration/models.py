"""A registration that nobody has confirmed yet. No account exists until somebody does.

The username is reserved; the address is not unique here, so nobody can squat one. A known address gets a row as well,
which nothing confirms: otherwise a second try with the same username would tell whether the address is known.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.adapters.database import Base, delete_batch


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
    role: Mapped[str | None] = mapped_column(
        String(32)
    )  # the account comes into being with it; such a one opens by its link alone
    password_hash: Mapped[str | None] = mapped_column(String(256))
    code_digest: Mapped[str] = mapped_column(String(64))
    code_expires_at: Mapped[datetime]
    tries: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


def delete_expired(db: Session, now: datetime, limit: int) -> int:
    return delete_batch(db, PendingRegistration, PendingRegistration.expires_at < now, limit)
