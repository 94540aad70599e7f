"""Who administers the service: never nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exists, select

from app.accounts.models import NO_PASSWORD, Account, AccountStatus
from app.authorization.errors import LastAdmin
from app.authorization.models import ADMIN, AccountRole, lock_admin_changes

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session


def require_another_admin(db: Session, account_id: str) -> None:
    """Where this account is about to stop being an active administrator, another one has to be there. Raises LastAdmin.

    Call it before any account is locked: whoever takes an administrator away meets here first, and of two at once the second sees
    what the first has done. An account that is no active administrator may go at any time.
    """
    if is_still_admin(db, account_id) and not _has_other_active_admin(db, account_id):
        raise LastAdmin


def is_still_admin(db: Session, account_id: str) -> bool:
    """Is it an active administrator, and will it be one until this is done? Call it before any account is locked."""
    lock_admin_changes(db)
    return bool(db.scalar(select(_build_active_admin_clause(Account.id == account_id))))


def _has_other_active_admin(db: Session, account_id: str) -> bool:
    return bool(db.scalar(select(_build_active_admin_clause(Account.id != account_id))))


def _build_active_admin_clause(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """One who was invited and never chose a password can administer nothing, and may never come."""
    comes = (Account.status == AccountStatus.ACTIVE, Account.password_hash != NO_PASSWORD)
    return exists().where(
        AccountRole.account_id == Account.id, AccountRole.role == ADMIN, *comes, condition
    )
