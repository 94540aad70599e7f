"""Verification of a password against an account, and the write that completes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, update
from sqlalchemy.orm.attributes import set_committed_value

from app.accounts.models import Account, AccountStatus
from app.adapters.database import UtcDateTime
from app.adapters.statements import PreparedStatement, count_changed_rows
from app.authentication.passwords.normalize import InvalidPassword, normalize_password

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.unit_of_work import UnitOfWork


def check_password(work: UnitOfWork, account: Account | None, password: str) -> bool:
    """Return whether this is the password of the account, and upgrade an outdated hash.

    The cost is the same without an account and for one that is not active. The transaction is
    committed before hashing, so that nothing is held meanwhile: make what was read before a
    condition of what you write afterwards. Raises Busy.
    """
    try:
        text = normalize_password(password)
    except InvalidPassword:
        account, text = None, ""
    usable = account if account is not None and account.is_active else None
    password_hash = usable.password_hash if usable else work.hasher.decoy_hash
    work.commit_and_release()
    matches = work.hasher.verify(password_hash, text) and usable is not None
    upgrade = matches and work.hasher.is_outdated(password_hash)
    upgraded_hash = work.hasher.hash(text) if upgrade else None
    if usable is not None and upgraded_hash is not None:
        # The condition keeps a password that was changed meanwhile. The update is also applied to
        # `account`, whose hash is compared later.
        work.db.execute(
            update(Account)
            .where(Account.id == usable.id, Account.password_hash == password_hash)
            .values(password_hash=upgraded_hash)
        )
    return matches


def lock_unchanged_account(
    work: UnitOfWork, account: Account, *, changes: Mapping[str, object]
) -> bool:
    """Lock the account and write the changes, unless it has changed since it was read."""
    held = {"id": account.id, "epoch": account.epoch, "password_hash": account.password_hash}
    if changes.keys() != LOGIN_CHANGES:
        statement = update(Account).filter_by(**held, status=AccountStatus.ACTIVE)
        values = {"status": AccountStatus.ACTIVE, **changes}
        return count_changed_rows(work.db, statement.values(values)) == 1
    # Every login runs this statement, so it is prepared.
    parameters = {f"held_{name}": value for name, value in held.items()}
    if LOCK_AT_LOGIN.execute(work.db, {**parameters, **changes}).rowcount != 1:
        return False
    for name, value in changes.items():
        set_committed_value(account, name, value)
    return True


LOGIN_CHANGES = {"last_login_at"}
LOCK_AT_LOGIN = PreparedStatement(
    lambda _dialect: (
        update(Account)
        .where(
            Account.id == bindparam("held_id"),
            Account.epoch == bindparam("held_epoch"),
            Account.password_hash == bindparam("held_password_hash"),
            Account.status == AccountStatus.ACTIVE,
        )
        .values(last_login_at=bindparam("last_login_at", type_=UtcDateTime))
    )
)
