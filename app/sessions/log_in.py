"""Logging in with a password."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import update

from app.accounts import names
from app.accounts.check_password import check_password
from app.accounts.models import Account, Status, by_email, by_username, locked
from app.adapters.database import changed
from app.audit.record import Event, record
from app.sessions.errors import InvalidCredentials
from app.sessions.open_session import open_session
from app.sessions.tokens import Tokens, tokens_of

if TYPE_CHECKING:
    from app.principal import Source
    from app.unit_of_work import UnitOfWork


def log_in(
    work: UnitOfWork, source: Source, *, username: str, password: str, device_name: str | None = None, expires_in: int | None = None
) -> Tokens:
    """Open a session for whoever knows a name or address and its password. Raises InvalidCredentials or Busy.

    `expires_in` asks for another length of the session in seconds; more than SESSION_MAX_TTL is cut to that.
    """
    account = _find(work, username)
    proven = check_password(work, account, password)
    if account is None or not proven or not (_still_so(work, account) or _so_again(work, account, password)):
        record(work, Event.LOGIN_FAILED, source=source, account_id=account.id if account else None)
        raise InvalidCredentials
    life = timedelta(seconds=expires_in) if expires_in is not None else None
    session = open_session(work, source, account, device_name=device_name, life=life, amr="pwd")
    return tokens_of(work, account, session)


def _find(work: UnitOfWork, typed: str) -> Account | None:
    try:
        name = names.folded(typed)
        return by_email(work.db, names.canonical_address(name)) if "@" in name else by_username(work.db, name)
    except names.NotAName:
        return None


def _so_again(work: UnitOfWork, account: Account, password: str) -> bool:
    """Look once more: of two logins at once, the first may have renewed the hash that the second had read."""
    present = locked(work.db, account.id)
    return present is not None and check_password(work, present, password) and _still_so(work, present)


def _still_so(work: UnitOfWork, account: Account) -> bool:
    """Lock the account, on condition that nothing changed while the password was being checked."""
    logged_in = changed(
        work.db,
        update(Account)
        .where(
            Account.id == account.id,
            Account.epoch == account.epoch,
            Account.password_hash == account.password_hash,
            Account.status == Status.ACTIVE,
        )
        .values(last_login_at=work.now),
    )
    return logged_in == 1
