"""Device login requests: made on one device and approved on another (RFC 8628).

A request goes from pending to claimed, approved and redeemed, or ends as denied, suspicious or
canceled. It expires after ten minutes. Each step is one conditional UPDATE. The request has the id
of the session that it becomes. The id is not secret and grants nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, and_, exists, or_
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.orm import Session as Db

from app.adapters.database import Base
from app.adapters.statements import delete_batch
from app.sessions.models import Session

DEVICE_CODE_PREFIX = "dwl"  # a device code is dwl_<id>_<secret><checksum>


class DeviceLoginState(StrEnum):
    PENDING = "pending"
    CLAIMED = "claimed"  # the code was entered; only that account can decide
    APPROVED = "approved"
    DENIED = "denied"
    SUSPICIOUS = "suspicious"
    CANCELLED = "cancelled"  # on the requesting device
    REDEEMED = "redeemed"


UNDECIDED_STATES = (DeviceLoginState.PENDING, DeviceLoginState.CLAIMED)
OPEN_STATES = (*UNDECIDED_STATES, DeviceLoginState.APPROVED)


class DeviceLogin(Base):
    __tablename__ = "login_sessions"
    __table_args__ = (
        UniqueConstraint("user_code_digest"),
        Index("ix_login_sessions_account_id_created_at", "account_id", "created_at"),
        Index("ix_login_sessions_expires_at", "expires_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    state: Mapped[str] = mapped_column(String(16), default=DeviceLoginState.PENDING)
    device_digest: Mapped[str] = mapped_column(String(64))
    # Cleared by the decision, so that the code can be used again.
    user_code_digest: Mapped[str | None] = mapped_column(String(64))
    client_id: Mapped[str] = mapped_column(String(32))
    client_name: Mapped[str] = mapped_column(String(64))
    hostname: Mapped[str | None] = mapped_column(String(64))  # as reported by the requesting device
    login_message: Mapped[str | None] = mapped_column(String(200))
    check_phrase: Mapped[str | None] = mapped_column(String(64))
    scope: Mapped[str | None] = mapped_column(
        Text
    )  # requested, limited to what the client may have
    expires_in: Mapped[int | None]  # requested session length in seconds; None is the default
    # The only account that may claim the request. A digest, because users type passwords into
    # username fields.
    username_digest: Mapped[str | None] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(64))
    bucket: Mapped[str] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(256))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    polled_at: Mapped[datetime | None]
    interval: Mapped[int]  # seconds between polls
    account_id: Mapped[str | None] = mapped_column(
        String(32), ForeignKey("accounts.id", ondelete="CASCADE")
    )
    claimed_at: Mapped[datetime | None]
    claimed_session_id: Mapped[str | None] = mapped_column(String(32))
    claimed_address: Mapped[str | None] = mapped_column(String(64))
    claimed_device: Mapped[str | None] = mapped_column(String(256))
    decided_at: Mapped[datetime | None]
    decided_session_id: Mapped[str | None] = mapped_column(String(32))
    decided_address: Mapped[str | None] = mapped_column(String(64))
    decided_device: Mapped[str | None] = mapped_column(String(256))
    # The account's epoch at approval. The approval is void once the epoch changes.
    approved_epoch: Mapped[int | None]
    granted_scope: Mapped[str | None] = mapped_column(Text)
    redeemed_at: Mapped[datetime | None]

    def is_open(self, now: datetime) -> bool:
        """Return whether the request can still be decided or redeemed."""
        return self.state in OPEN_STATES and now < self.expires_at


def find_device_login(db: Db, device_login_id: str) -> DeviceLogin | None:
    return db.get(DeviceLogin, device_login_id)


def delete_expired_device_logins(db: Db, now: datetime, limit: int) -> int:
    """Delete at most `limit` old requests, and return how many.

    Unclaimed requests are kept for a day, others for 30 days and as long as their session.
    """
    is_unclaimed = and_(
        DeviceLogin.account_id.is_(None), DeviceLogin.expires_at < now - timedelta(days=1)
    )
    is_old = and_(
        DeviceLogin.expires_at < now - timedelta(days=30),
        ~exists().where(Session.id == DeviceLogin.id),
    )
    return delete_batch(db, DeviceLogin, or_(is_unclaimed, is_old), limit)
