"""Secrets that were mailed out. Only a digest is kept; a secret is good for one purpose, one subject and one use."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.adapters.database import Base, delete_batch


class ConfirmationPurpose(StrEnum):
    REGISTRATION = "registration"
    RESET = "reset"
    BOOTSTRAP = "bootstrap"  # the link of the first administrator, printed and not mailed


class Confirmation(Base):
    __tablename__ = "confirmations"
    __table_args__ = (
        Index("ix_confirmations_subject", "subject", "purpose"),
        Index("ix_confirmations_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(
        String(32)
    )  # what the secret is about: a pending registration, an account
    epoch: Mapped[int | None]  # of the account when the secret was made: it ends with that
    digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


def delete_expired(db: Session, now: datetime, limit: int) -> int:
    return delete_batch(db, Confirmation, Confirmation.expires_at < now - timedelta(days=1), limit)
