"""Revocation of everything that grants access to an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from app.api_keys.models import ApiKey, build_live_clause
from app.api_keys.revoke import revoke_locked_api_key
from app.authentication.trusted_devices.manage import forget_all_trusted_devices
from app.confirmations.issue import invalidate_all_tokens
from app.sessions.models import SessionStatus
from app.sessions.revoke import revoke_past_epoch_sessions

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.unit_of_work import UnitOfWork


def revoke_account_sessions(work: UnitOfWork, account: Account, *, reason: str) -> int:
    """Revoke all sessions, tokens and emailed links of the account. Returns the number of sessions.

    The account must be locked.
    """
    account.epoch += 1
    invalidate_all_tokens(work, subject=account.id)
    work.db.flush()
    return revoke_past_epoch_sessions(work, account, status=SessionStatus.REVOKED, reason=reason)


def revoke_keys_and_devices(work: UnitOfWork, account: Account, *, reason: str) -> None:
    """Revoke all API keys and trusted devices of the account, which must be locked."""
    forget_all_trusted_devices(work, account)
    # The order of the job that saves last uses, so that the two cannot deadlock.
    live_keys = (
        select(ApiKey)
        .where(ApiKey.account_id == account.id, build_live_clause(work.now))
        .order_by(ApiKey.id)
    )
    for key in work.db.scalars(live_keys.with_for_update()).all():
        revoke_locked_api_key(work, key, reason=reason)
