"""Checks on who holds the role `admin`, safe against concurrent changes.

Call every function that locks before you lock an account. Transactions that all lock in this
order cannot deadlock, and each sees what the one before it committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exists, select

from app.accounts.models import NO_PASSWORD, Account, AccountStatus
from app.authorization.errors import LastAdmin
from app.authorization.models import ADMIN, AccountRole
from app.credential_status.models import ISSUER_STATE_ID, IssuerState
from app.errors import Forbidden

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

    from app.principal import Principal
    from app.unit_of_work import UnitOfWork


def require_still_admin(work: UnitOfWork, principal: Principal) -> None:
    """Require that the principal is an administrator until the transaction ends. Raises Forbidden.

    Of two administrators who disable each other at the same time, only the first succeeds.
    """
    if not is_still_admin(work.db, principal.account_id):
        raise Forbidden("Only an administrator may do this.")


def require_another_admin(db: Session, account_id: str) -> None:
    """Require another active administrator if this account is one. Raises LastAdmin.

    Call it before you disable or delete an account or revoke its role `admin`.
    """
    if is_still_admin(db, account_id) and not _has_other_active_admin(db, account_id):
        raise LastAdmin


def is_still_admin(db: Session, account_id: str) -> bool:
    """Return whether the account is an active administrator, and keep it so: locks."""
    _lock_admin_changes(db)
    return bool(db.scalar(select(_build_active_admin_clause(Account.id == account_id))))


def has_any_admin(db: Session) -> bool:
    """Return whether any account has the role `admin`, active or not."""
    return bool(db.scalar(select(exists().where(AccountRole.role == ADMIN))))


def can_create_first_admin(db: Session) -> bool:
    """Return whether no account is an administrator, and keep it so: locks."""
    _lock_admin_changes(db)
    return not has_any_admin(db)


def _has_other_active_admin(db: Session, account_id: str) -> bool:
    return bool(db.scalar(select(_build_active_admin_clause(Account.id != account_id))))


def _build_active_admin_clause(condition: ColumnElement[bool]) -> ColumnElement[bool]:
    """Build a clause for active administrators.

    An invited account without a password does not count, because its owner may never accept.
    """
    is_usable = (Account.status == AccountStatus.ACTIVE, Account.password_hash != NO_PASSWORD)
    return exists().where(
        AccountRole.account_id == Account.id, AccountRole.role == ADMIN, *is_usable, condition
    )


def _lock_admin_changes(db: Session) -> None:
    """Block other transactions that call this until the current one ends.

    There may be no administrator's row to lock yet, so the lock is on the one row of the issuer.
    On SQLite a writer already locks the whole database.
    """
    db.execute(select(IssuerState.id).where(IssuerState.id == ISSUER_STATE_ID).with_for_update())
