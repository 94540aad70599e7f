"""A login that is asked for on one device and approved on another: one record from the request to the session.

pending → claimed → approved → redeemed, or denied, suspicious, cancelled; what is not over in ten minutes has expired.
Each step is one conditional UPDATE. The record has the id of the session that comes of it, which opens nothing.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, and_, exists, or_
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.orm import Session as Db

from app.adapters.database import Base, delete_batch
from app.sessions.models import Session

DEVICE_CODE_PREFIX = "dwl"  # dwl_<id>_<secret><checksum>: the device code


class DeviceLoginState(StrEnum):
    PENDING = "pending"
    CLAIMED = "claimed"  # an account has typed the code, and alone decides
    APPROVED = "approved"
    DENIED = "denied"
    SUSPICIOUS = "suspicious"
    CANCELLED = "cancelled"  # by whoever asked
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
    user_code_digest: Mapped[str | None] = mapped_column(
        String(64)
    )  # gone once it was decided, so that the code is free again
    client_id: Mapped[str] = mapped_column(String(32))
    client_name: Mapped[str] = mapped_column(String(64))
    hostname: Mapped[str | None] = mapped_column(String(64))  # as told by whoever asks
    login_message: Mapped[str | None] = mapped_column(String(200))
    check_phrase: Mapped[str | None] = mapped_column(String(64))
    scope: Mapped[str | None] = mapped_column(Text)  # asked for, as far as the client may have it
    expires_in: Mapped[int | None]  # seconds, of the session asked for; None: as long as any
    username_digest: Mapped[str | None] = mapped_column(
        String(64)
    )  # who alone may claim it; what was typed may be a password
    address: Mapped[str] = mapped_column(String(64))
    bucket: Mapped[str] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(256))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    polled_at: Mapped[datetime | None]
    interval: Mapped[int]  # seconds from one poll to the next
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
    approved_epoch: Mapped[
        int | None
    ]  # of the account when it approved: the approval ends with that
    granted_scope: Mapped[str | None] = mapped_column(Text)
    redeemed_at: Mapped[datetime | None]

    def is_open(self, now: datetime) -> bool:
        """Can anything still become of it?"""
        return self.state in OPEN_STATES and now < self.expires_at


def find_device_login(db: Db, device_login_id: str) -> DeviceLogin | None:
    return db.get(DeviceLogin, device_login_id)


def delete_expired_device_logins(db: Db, now: datetime, limit: int) -> int:
    """What nobody claimed is remembered for a day, the rest for 30, and no shorter than the session that came of it."""
    nobodys = and_(
        DeviceLogin.account_id.is_(None), DeviceLogin.expires_at < now - timedelta(days=1)
    )
    old = and_(
        DeviceLogin.expires_at < now - timedelta(days=30),
        ~exists().where(Session.id == DeviceLogin.id),
    )
    return delete_batch(db, DeviceLogin, or_(nobodys, old), limit)
