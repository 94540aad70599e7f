"""Deletion of accounts, by administrators or by their owners.

A deleted account loses all access at once. Administrators can restore it until it is erased.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.accounts.models import Account, AccountStatus, get_locked_account
from app.audit.record import Event, record_event
from app.authorization.roles.administrators import require_another_admin, require_still_admin
from app.errors import Unauthenticated
from app.lifecycle.revoke_access import revoke_account_sessions, revoke_keys_and_devices
from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email

if TYPE_CHECKING:
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def delete_account(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, account_id: str
) -> None:
    """Delete an account as an administrator; no effect if it is deleted already.

    Raises Forbidden, NotFound or LastAdmin.
    """
    require_still_admin(work, principal)
    require_another_admin(work.db, account_id)
    account = get_locked_account(work.db, account_id)
    if account.status != AccountStatus.DELETED:
        _delete(work, principal, client_info, account)


def delete_own_account(work: UnitOfWork, principal: Principal, client_info: ClientInfo) -> None:
    """Delete the principal's account and email its owner the date of erasure.

    Raises LastAdmin or Unauthenticated.
    """
    require_another_admin(work.db, principal.account_id)
    account = get_locked_account(work.db, principal.account_id)
    if not account.is_active:
        raise Unauthenticated  # disabled or deleted in the meantime
    _delete(work, principal, client_info, account)
    erased = f"{work.now + work.settings.erase_after:%Y-%m-%d %H:%M} UTC"
    enqueue_email(
        work,
        EmailTemplate.ACCOUNT_DELETED,
        Email(account.email, account.locale, {"username": account.username, "erased": erased}),
    )


def _delete(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, account: Account
) -> None:
    """Mark the account deleted and revoke its access.

    It keeps its username, email address, roles and memberships, so that it can be restored.
    """
    account.status, account.deleted_at = AccountStatus.DELETED, work.now
    revoke_keys_and_devices(work, account, reason="account_deleted")
    revoke_account_sessions(work, account, reason="account_deleted")
    record_event(
        work,
        Event.ACCOUNT_DELETED,
        client_info=client_info,
        account_id=account.id,
        actor=principal.account_id,
    )
