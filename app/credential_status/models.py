"""Permanent revocation state: the global epoch, and a row for each revocation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Index, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.adapters.database import Base, BigId
from app.adapters.statements import delete_batch

ISSUER_STATE_ID = 1
API_KEY_REVOKED, API_KEY_CHANGED = (
    "ended",
    "changed",
)  # values of the column status for an API key
# A revocation matters until the last affected token has expired, at most 15 minutes, plus an hour.
REVOCATION_RETENTION = timedelta(minutes=75)


class IssuerState(Base):
    """The single row of the issuer. Tokens and sessions of another global epoch are invalid."""

    __tablename__ = "issuer_state"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    global_epoch: Mapped[int]


class RevocationKind(StrEnum):
    SESSION = "session"
    ACCOUNT = "account"
    API_KEY = "key"
    GLOBAL = "global"


class Revocation(Base):
    """A revocation. Rows are only appended, in the transaction that revokes."""

    __tablename__ = "revocations"
    __table_args__ = (Index("ix_revocations_at", "at"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=True)
    # For an API key, `epoch` is its version.
    kind: Mapped[str] = mapped_column(String(16))
    ref: Mapped[str] = mapped_column(String(32))
    account_id: Mapped[str] = mapped_column(String(32))
    epoch: Mapped[int]
    roles_version: Mapped[int]
    status: Mapped[str] = mapped_column(String(16))
    at: Mapped[datetime]


def get_global_epoch(db: Session) -> int:
    return db.scalars(
        select(IssuerState.global_epoch).where(IssuerState.id == ISSUER_STATE_ID)
    ).one()


def list_revocations_since(db: Session, moment: datetime) -> Sequence[Revocation]:
    return db.scalars(
        select(Revocation).where(Revocation.at >= moment).order_by(Revocation.at)
    ).all()


def delete_old_revocations(db: Session, now: datetime, limit: int) -> int:
    return delete_batch(db, Revocation, Revocation.at < now - REVOCATION_RETENTION, limit)
