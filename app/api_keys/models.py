"""The table of API keys. It stores digests only; a key has two during a rotation overlap."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ForeignKey, Index, String, Text, and_, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.adapters.database import Base
from app.adapters.statements import delete_batch
from app.opaque_tokens import is_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement

PREFIX = "dwk"  # dwk_<id>_<secret><checksum>
SHOWN_ID_LENGTH = 8  # characters of the id that identify a key to its owner; the id is not secret


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
    # Granted scopes, separated by spaces. At each use they are limited to those of the account.
    scope: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(64))
    old_digest: Mapped[str | None] = mapped_column(String(64))
    old_until: Mapped[datetime | None]
    # Grows with every change, so that cache entries of older versions are ignored.
    version: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    warned_days: Mapped[int | None]  # the last expiry warning, in days before expiry
    ended_at: Mapped[datetime | None]
    reason: Mapped[str | None] = mapped_column(String(32))

    @property
    def scopes(self) -> tuple[str, ...]:
        return tuple(self.scope.split())

    @property
    def prefix(self) -> str:
        """The beginning of the key, by which its owner recognizes it."""
        return f"{PREFIX}_{self.id.partition('_')[2][:SHOWN_ID_LENGTH]}…"

    def is_live(self, now: datetime) -> bool:
        return self.ended_at is None and (self.expires_at is None or now < self.expires_at)


def build_live_clause(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a key is neither revoked nor expired."""
    return and_(
        ApiKey.ended_at.is_(None), or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now)
    )


def find_api_key(db: Session, account_id: str, key_id: str) -> ApiKey | None:
    """Return the key if it belongs to the account."""
    if not is_id("key", key_id):
        return None
    return db.scalar(select(ApiKey).where(ApiKey.id == key_id, ApiKey.account_id == account_id))


def lock_api_key(db: Session, account_id: str, key_id: str, now: datetime) -> ApiKey | None:
    """Lock and return the live key of the account."""
    if not is_id("key", key_id):
        return None
    mine = select(ApiKey).where(
        ApiKey.id == key_id, ApiKey.account_id == account_id, build_live_clause(now)
    )
    return db.scalar(mine.with_for_update().execution_options(populate_existing=True))


def list_live_names(db: Session, account_id: str, now: datetime) -> Sequence[str]:
    """Return the names of the account's live keys, sorted."""
    return db.scalars(
        select(ApiKey.name)
        .where(ApiKey.account_id == account_id, build_live_clause(now))
        .order_by(ApiKey.name)
    ).all()


def sweep(db: Session, now: datetime, most: int) -> int:
    """Delete keys that were revoked or expired 30 days ago."""
    kept_from = now - timedelta(days=30)
    return delete_batch(
        db, ApiKey, or_(ApiKey.expires_at < kept_from, ApiKey.ended_at < kept_from), most
    )
