"""Confirmation tokens.

Each is valid for one purpose, one subject and one use; only its digest is stored.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.adapters.database import Base
from app.adapters.statements import delete_batch


class ConfirmationPurpose(StrEnum):
    REGISTRATION = "registration"
    RESET = "reset"
    BOOTSTRAP = "bootstrap"  # printed for the operator, not emailed


class Confirmation(Base):
    __tablename__ = "confirmations"
    __table_args__ = (
        Index("ix_confirmations_subject", "subject", "purpose"),
        Index("ix_confirmations_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(16))
    subject: Mapped[str] = mapped_column(String(32))  # a pending registration or an account
    epoch: Mapped[int | None]  # of the account at issue; the token is valid only in this epoch
    digest: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


def delete_expired(db: Session, now: datetime, limit: int) -> int:
    return delete_batch(db, Confirmation, Confirmation.expires_at < now - timedelta(days=1), limit)
