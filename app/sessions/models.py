"""Sessions: one row for each login of an account."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from sqlalchemy import ColumnElement, ForeignKey, Index, String, Text, and_, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Mapped, mapped_column
from sqlalchemy.orm import Session as Db

from app.adapters.database import Base
from app.adapters.statements import delete_batch
from app.sessions.public_clients import DEFAULT_CLIENT_ID

Moment = datetime | ColumnElement[datetime]
Epoch = int | ColumnElement[int] | InstrumentedAttribute[int]

RETENTION = timedelta(days=30)


class SessionStatus(StrEnum):
    """The stored status.

    A session with LIVE can have expired or belong to an older epoch: see `is_live`.
    """

    LIVE = "live"
    LOGGED_OUT = "logged_out"
    REVOKED = "revoked"
    SUSPICIOUS = "suspicious"


class Session(Base):
    __tablename__ = "sessions"
    __table_args__ = (
        Index("ix_sessions_account_id_status", "account_id", "status"),
        Index("ix_sessions_absolute_until", "absolute_until"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    account_id: Mapped[str] = mapped_column(
        String(32), ForeignKey("accounts.id", ondelete="CASCADE")
    )
    account_epoch: Mapped[int]
    global_epoch: Mapped[int]
    rt_counter: Mapped[int] = mapped_column(default=0)
    rt_salt: Mapped[str] = mapped_column(String(64))
    # When the password was last entered in it; None after a device login, where none was.
    auth_time: Mapped[datetime | None]
    amr: Mapped[str] = mapped_column(String(64))
    # The requested scopes, separated by spaces; None for everything its roles allow.
    scope: Mapped[str | None] = mapped_column(Text)
    client_id: Mapped[str | None] = mapped_column(String(32))  # None for the default client
    approved_by: Mapped[str | None] = mapped_column(String(32))  # id of the approving session
    created_at: Mapped[datetime]
    refreshed_at: Mapped[datetime]
    idle_until: Mapped[datetime]
    absolute_until: Mapped[datetime]
    status: Mapped[str] = mapped_column(String(16), default=SessionStatus.LIVE)
    ended_at: Mapped[datetime | None]
    reason: Mapped[str | None] = mapped_column(String(32))
    device_name: Mapped[str | None] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(256))
    address: Mapped[str] = mapped_column(String(64))
    last_address: Mapped[str] = mapped_column(String(64))
    bucket: Mapped[str] = mapped_column(String(64))

    @property
    def expires_at(self) -> datetime:
        """The time at which the session expires unless it is refreshed."""
        return min(self.idle_until, self.absolute_until)

    @property
    def effective_client_id(self) -> str:
        """The client identifier (RFC 6749 section 2.2)."""
        return self.client_id or DEFAULT_CLIENT_ID

    @property
    def device_label(self) -> str:
        """The name under which the session is shown to its user."""
        return self.device_name or self.user_agent or "unknown"

    @property
    def methods(self) -> frozenset[str]:
        """The authentication methods used in the session (RFC 8176)."""
        return frozenset(self.amr.split())

    def is_live(self, now: datetime, *, account_epoch: int, global_epoch: int) -> bool:
        return is_live(self, now, account_epoch=account_epoch, global_epoch=global_epoch)

    @classmethod
    def live_clause(
        cls, now: Moment, account_epoch: Epoch, global_epoch: Epoch
    ) -> ColumnElement[bool]:
        """Return the SQL condition of a live session, the same rule as `is_live`.

        Pass epochs as values, or as the columns and subqueries that hold the current ones.
        """
        return and_(
            cls.status == SessionStatus.LIVE,
            cls.account_epoch == account_epoch,
            cls.global_epoch == global_epoch,
            cls.idle_until > now,
            cls.absolute_until > now,
        )

    @classmethod
    def expired_clause(cls, now: datetime) -> ColumnElement[bool]:
        """Return the SQL condition of a session whose idle or absolute lifetime is over."""
        return or_(cls.idle_until <= now, cls.absolute_until <= now)


class LivenessColumns(Protocol):
    """The columns that decide whether a session is live."""

    @property
    def status(self) -> str: ...
    @property
    def account_epoch(self) -> int: ...
    @property
    def global_epoch(self) -> int: ...
    @property
    def expires_at(self) -> datetime: ...


def is_live(
    session: Session | LivenessColumns, now: datetime, *, account_epoch: int, global_epoch: int
) -> bool:
    """Return whether the session is neither revoked nor expired.

    `Session.live_clause` is the same rule in SQL.

    Epochs must be equal: after a restored backup the account may have a lower epoch than the
    session.
    """
    return (
        session.status == SessionStatus.LIVE
        and session.account_epoch == account_epoch
        and session.global_epoch == global_epoch
        and now < session.expires_at
    )


def format_methods(methods: frozenset[str]) -> str:
    """Return authentication methods as the column amr stores them."""
    return " ".join(sorted(methods))


def find_session(db: Db, session_id: str) -> Session | None:
    return db.get(Session, session_id)


def find_account_session(db: Db, account_id: str, session_id: str) -> Session | None:
    """Find a session by id, if it belongs to the account."""
    return db.scalar(
        select(Session).where(Session.id == session_id, Session.account_id == account_id)
    )


def delete_old_sessions(db: Db, now: datetime, limit: int) -> int:
    """Delete a batch of sessions that ended before the retention period. Returns their number."""
    kept_from = now - RETENTION
    return delete_batch(
        db, Session, or_(Session.absolute_until < kept_from, Session.ended_at < kept_from), limit
    )
