"""Invalidation of the cached rights of an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.credential_status.revocations import record_account_revocation

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.unit_of_work import UnitOfWork


def invalidate_rights(work: UnitOfWork, account: Account) -> None:
    """Make every cached copy of the account's rights stale. The account must be locked.

    Sessions stay valid because the epoch does not change.
    """
    account.roles_version += 1
    record_account_revocation(work, account)
