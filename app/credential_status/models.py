"""What has ended, for good: the issuer's epoch, and one row for each revocation."""

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
)  # what became of an API key, in the column status
# A revocation matters until the last token it concerns has expired, at most 15 minutes; an hour more is to spare.
REVOCATION_RETENTION = timedelta(minutes=75)


class IssuerState(Base):
    """One row. A token or session of another global epoch is over, whatever else it says."""

    __tablename__ = "issuer_state"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    global_epoch: Mapped[int]


class RevocationKind(StrEnum):
    SESSION = "session"
    ACCOUNT = "account"
    API_KEY = "key"
    GLOBAL = "global"


class Revocation(Base):
    """Append-only, written in the transaction that ends the thing."""

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
