"""Writing down that something has ended, in the transaction that ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.revocation.models import Kind, Revocation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.accounts.models import Account
    from app.unit_of_work import UnitOfWork


def revoke_sessions(work: UnitOfWork, account: Account, session_ids: Iterable[str]) -> None:
    """These sessions of the account are over. Ending sessions one by one moves no epoch."""
    for session_id in session_ids:
        work.db.add(_row(work, account, Kind.SESSION, session_id))


def revoke_account(work: UnitOfWork, account: Account) -> None:
    """Everything the account was handed before its present epoch is over."""
    work.db.add(_row(work, account, Kind.ACCOUNT, account.id))


def _row(work: UnitOfWork, account: Account, kind: Kind, ref: str) -> Revocation:
    return Revocation(
        kind=kind,
        ref=ref,
        account_id=account.id,
        epoch=account.epoch,
        roles_version=account.roles_version,
        status=account.status,
        at=work.now,
    )
