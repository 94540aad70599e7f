"""Writing down that something has ended, in the transaction that ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.adapters import logs
from app.adapters.cache import CacheAway
from app.revocation.models import Kind, Revocation
from app.revocation.publish import publish

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.accounts.models import Account
    from app.unit_of_work import UnitOfWork

log = logs.get_logger("revocation")


def revoke_sessions(work: UnitOfWork, account: Account, session_ids: Iterable[str]) -> None:
    """These sessions of the account are over. Ending sessions one by one moves no epoch."""
    for session_id in session_ids:
        _revoke(work, account, Kind.SESSION, session_id)


def revoke_account(work: UnitOfWork, account: Account) -> None:
    """Everything the account was handed before its present epoch is over."""
    _revoke(work, account, Kind.ACCOUNT, account.id)


def _revoke(work: UnitOfWork, account: Account, kind: Kind, ref: str) -> None:
    """The row decides, in this transaction. Redis hears of it after the commit: a mark before a rollback would lock out a good session."""
    row = Revocation(
        kind=kind,
        ref=ref,
        account_id=account.id,
        epoch=account.epoch,
        roles_version=account.roles_version,
        status=account.status,
        at=work.now,
    )
    work.db.add(row)
    work.after_commit.append(lambda: _tell(work, row))


def _tell(work: UnitOfWork, row: Revocation) -> None:
    """Try once, for a tenth of a second. The watcher of every process repeats it, so a failure is only said."""
    if not work.cache.used:
        return
    try:
        publish(work.cache, work.settings, row)
    except CacheAway:
        log.warning("revocation not published yet", kind=row.kind)
