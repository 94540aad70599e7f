"""API keys. Only digests of the secrets are kept; while a key is being rotated it has two."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, String, Text, and_, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.adapters.database import Base, delete_batch
from app.opaque_tokens import is_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement

PREFIX = "dwk"  # dwk_<id>_<secret><checksum>
SHOWN_ID_LENGTH = 8  # letters of the id by which people recognise a key; the id is no secret


class ApiKey(Base):
    __tablename__ = "api_keys"
    __table_args__ = (
        Index("ix_api_keys_account_id", "account_id"),
        Index("ix_api_keys_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("accounts.id", ondelete="CASCADE")
    )
    name: Mapped[str] = mapped_column(String(64))
    scope: Mapped[str] = mapped_column(
        Text
    )  # what it was given, separated by spaces; at each use it is cut to what its owner may
    digest: Mapped[str] = mapped_column(String(64))
    old_digest: Mapped[str | None] = mapped_column(String(64))
    old_until: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(
        default=1
    )  # grows with every change, so that what is remembered of an older one counts no more
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    warned_days: Mapped[int | None]  # how many days before its end the owner was last told
    ended_at: Mapped[datetime | None]
    reason: Mapped[str | None] = mapped_column(String(32))

    @property
    def scopes(self) -> tuple[str, ...]:
        return tuple(self.scope.split())

    @property
    def prefix(self) -> str:
        """How it begins, for people to recognise it."""
        return f"{PREFIX}_{self.id.partition('_')[2][:SHOWN_ID_LENGTH]}…"

    def is_live(self, now: datetime) -> bool:
        return self.ended_at is None and (self.expires_at is None or now < self.expires_at)


def build_live_clause(now: datetime) -> ColumnElement[bool]:
    """Neither ended nor expired."""
    return and_(
        ApiKey.ended_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now)
    )


def find_api_key(db: Session, account_id: str, key_id: str) -> ApiKey | None:
    """The key, if it belongs to that account."""
    if not is_id("key", key_id):
        return None
    return db.scalar(select(ApiKey).where(ApiKey.id == key_id, ApiKey.account_id == account_id))


def lock_api_key(db: Session, account_id: str, key_id: str, now: datetime) -> ApiKey | None:
    """The living key of that account as it is now, kept so until the transaction ends."""
    if not is_id("key", key_id):
        return None
    mine = select(ApiKey).where(
        ApiKey.id == key_id, ApiKey.account_id == account_id, build_live_clause(now)
    )
    return db.scalar(mine.with_for_update().execution_options(populate_existing=True))


def list_live_names(db: Session, account_id: str, now: datetime) -> Sequence[str]:
    """The names of the account's living keys, in order."""
    return db.scalars(
        select(ApiKey.name)
        .where(ApiKey.account_id == account_id, build_live_clause(now))
        .order_by(ApiKey.name)
    ).all()


def sweep(db: Session, now: datetime, most: int) -> int:
    """A key is remembered for 30 days after its end."""
    kept_from = now - timedelta(days=30)
    return delete_batch(
        db, ApiKey, or_(ApiKey.expires_at < kept_from, ApiKey.ended_at < kept_from), most
    )
