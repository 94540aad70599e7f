"""What an account may do has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.credential_status.revocations import record_account_revocation

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.unit_of_work import UnitOfWork


def invalidate_rights(work: UnitOfWork, account: Account) -> None:
    """From the next check on, what was remembered of the account's rights counts no more. The account must be locked.

    The epoch stays, so no session ends by this; what Redis remembers of the account's older rights does.
    """
    account.roles_version += 1
    record_account_revocation(work, account)
