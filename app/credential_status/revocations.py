"""Record revocations in the transaction that revokes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.adapters import logs
from app.adapters.cache import CacheUnavailable
from app.credential_status.models import (
    API_KEY_CHANGED,
    API_KEY_REVOKED,
    Revocation,
    RevocationKind,
)
from app.credential_status.publish import publish_revocation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from app.accounts.models import Account
    from app.unit_of_work import UnitOfWork

log = logs.get_logger("revocation")


def record_session_revocations(
    work: UnitOfWork, account: Account, session_ids: Iterable[str]
) -> None:
    """Record that sessions of the account were revoked. The account epoch stays the same."""
    _record(
        work,
        [
            _build_row(work, account, RevocationKind.SESSION, session_id)
            for session_id in session_ids
        ],
    )


def record_account_revocation(work: UnitOfWork, account: Account) -> None:
    """Record that every credential issued before the current epoch of the account is invalid."""
    _record(work, [_build_row(work, account, RevocationKind.ACCOUNT, account.id)])


def record_api_key_revocation(
    work: UnitOfWork, *, account_id: str, key_id: str, version: int, is_revoked: bool
) -> None:
    """Record that an API key was revoked or changed."""
    row = Revocation(
        kind=RevocationKind.API_KEY,
        ref=key_id,
        account_id=account_id,
        epoch=version,
        roles_version=0,
        status=API_KEY_REVOKED if is_revoked else API_KEY_CHANGED,
        at=work.now,
    )
    _record(work, [row])


def _build_row(work: UnitOfWork, account: Account, kind: RevocationKind, ref: str) -> Revocation:
    return Revocation(
        kind=kind,
        ref=ref,
        account_id=account.id,
        epoch=account.epoch,
        roles_version=account.roles_version,
        status=account.status,
        at=work.now,
    )


def _record(work: UnitOfWork, rows: Sequence[Revocation]) -> None:
    """Add the row, and publish it after the commit.

    Publishing before a rollback would reject a live session.
    """
    work.db.add_all(rows)
    if rows and work.cache.is_configured:
        work.after_commit.append(lambda: _publish(work, rows))


def _publish(work: UnitOfWork, rows: Sequence[Revocation]) -> None:
    """Publish each revocation until one fails.

    A failure takes a tenth of a second, and the cache watcher of every process repeats them all.
    """
    try:
        for row in rows:
            publish_revocation(work.cache, work.settings, row)
    except CacheUnavailable:
        log.warning("revocations not published yet", count=len(rows))
