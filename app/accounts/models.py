"""The account.

Usernames and email addresses are stored in canonical form, which alone is compared and unique.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Index, Select, String, UniqueConstraint, bindparam, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.adapters.database import Base
from app.errors import NotFound
from app.opaque_tokens import is_id

if TYPE_CHECKING:
    from app.accounts.names import Identifier


class AccountStatus(StrEnum):
    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"  # no longer visible, and erased after ERASE_AFTER


NO_PASSWORD = ""  # no password matches it, at the cost of verifying a wrong one
NO_NAME = ""  # matches no row, at the cost of any other name


class Account(Base):
    __tablename__ = "accounts"
    __table_args__ = (
        UniqueConstraint("username"),
        UniqueConstraint("email_canonical"),
        Index("ix_accounts_created_at_id", "created_at", "id"),
        Index("ix_accounts_deleted_at", "deleted_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    username: Mapped[str] = mapped_column(String(32))
    email: Mapped[str] = mapped_column(String(254))  # as entered; emails are sent to it
    email_canonical: Mapped[str] = mapped_column(String(254))
    name: Mapped[str] = mapped_column(String(128))
    locale: Mapped[str] = mapped_column(String(35))
    timezone: Mapped[str] = mapped_column(String(64), default="UTC")
    # SQLAlchemy reserves the attribute name "metadata".
    extra: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    password_hash: Mapped[str] = mapped_column(String(256))
    # Set while the password must be changed before it opens a session.
    must_change_since: Mapped[datetime | None]
    status: Mapped[str] = mapped_column(String(16), default=AccountStatus.ACTIVE)
    epoch: Mapped[int] = mapped_column(default=1)
    roles_version: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]

    @property
    def has_password(self) -> bool:
        """Return False until the owner of an invited account has chosen a password."""
        return self.password_hash != NO_PASSWORD

    @property
    def must_change_password(self) -> bool:
        return self.must_change_since is not None

    @property
    def is_active(self) -> bool:
        return self.status == AccountStatus.ACTIVE


def find_account(db: Session, account_id: str) -> Account | None:
    return db.get(Account, account_id)


def find_account_by_username(db: Session, username: str) -> Account | None:
    return db.scalar(select(Account).where(Account.username == username))


def find_account_by_email(db: Session, email_canonical: str) -> Account | None:
    return db.scalar(select(Account).where(Account.email_canonical == email_canonical))


def lock_account(db: Session, account_id: str) -> Account | None:
    """Return the account, locked until the transaction ends. SQLite locks the whole database."""
    return db.scalar(LOCK_BY_ID, {"wanted": account_id})


def _build_lock(condition: ColumnElement[bool]) -> Select[Account]:
    return (
        select(Account).where(condition).with_for_update().execution_options(populate_existing=True)
    )


LOCK_BY_ID = _build_lock(Account.id == bindparam("wanted"))
LOCK_BY_EMAIL = _build_lock(Account.email_canonical == bindparam("wanted"))
LOCK_BY_USERNAME = _build_lock(Account.username == bindparam("wanted"))


def matches_identifier(identifier: Identifier) -> ColumnElement[bool]:
    """Build the condition that matches the account with this username or email address."""
    wanted = identifier.canonical if identifier.is_valid else NO_NAME
    return (Account.email_canonical if identifier.is_email else Account.username) == wanted


def lock_account_by_identifier(db: Session, identifier: Identifier) -> Account | None:
    """Return the account, locked until the transaction ends."""
    wanted = identifier.canonical if identifier.is_valid else NO_NAME
    return db.scalar(LOCK_BY_EMAIL if identifier.is_email else LOCK_BY_USERNAME, {"wanted": wanted})


def get_locked_account(db: Session, account_id: str) -> Account:
    """Return the account, locked until the transaction ends. Raises NotFound."""
    account = lock_account(db, account_id) if is_id("acc", account_id) else None
    if account is None:
        raise NotFound
    return account
