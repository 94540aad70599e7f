"""Disabling, enabling and restoring accounts, and asking for another password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.accounts.models import Account, AccountStatus
from app.admin.errors import AccountNotActive
from app.admin.require_admin import require_still_admin
from app.admin.show_account import AccountView, build_account_view, get_locked_account
from app.audit.record import Event, record_event
from app.authorization.models import list_roles
from app.authorization.roles.administrators import require_another_admin
from app.lifecycle.revoke_access import revoke_account_sessions

if TYPE_CHECKING:
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def update_account(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    *,
    account_id: str,
    status: str | None = None,
    must_change_password: bool | None = None,
) -> AccountView:
    """Change what is given and leave the rest; what is so already changes nothing and ends nothing.

    A deleted account can only be made active: to disable it would undo what its owner may have asked for.
    Raises Forbidden, NotFound, LastAdmin or AccountNotActive.
    """
    require_still_admin(work, principal)
    if status == AccountStatus.DISABLED:
        require_another_admin(work.db, account_id)
    account = get_locked_account(work, account_id)
    if status == AccountStatus.DISABLED and account.status == AccountStatus.DELETED:
        raise AccountNotActive
    if status is not None and status != account.status:
        _change_status(work, principal, client_info, account, AccountStatus(status))
    if must_change_password is not None and must_change_password != account.must_change_password:
        _set_must_change_password(
            work, principal, client_info, account, required=must_change_password
        )
    return build_account_view(account, list_roles(work.db, account))


def _change_status(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    account: Account,
    status: AccountStatus,
) -> None:
    """Either way the epoch moves, so that what was handed out before never counts again."""
    before, account.status, account.deleted_at = account.status, status, None
    revoke_account_sessions(work, account, reason=f"account_{status}")
    if before == AccountStatus.DELETED:
        event = Event.ACCOUNT_RESTORED
    else:
        event = Event.ACCOUNT_ENABLED if status is AccountStatus.ACTIVE else Event.ACCOUNT_DISABLED
    record_event(
        work, event, client_info=client_info, account_id=account.id, actor=principal.account_id
    )


def _set_must_change_password(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    account: Account,
    *,
    required: bool,
) -> None:
    """Whoever asks for another password distrusts the present one, and so the sessions it has opened: they end."""
    account.must_change_since = work.now if required else None
    if required:
        revoke_account_sessions(work, account, reason="must_change_password")
    said = "yes" if required else "no"
    record_event(
        work,
        Event.ACCOUNT_MUST_CHANGE,
        client_info=client_info,
        account_id=account.id,
        actor=principal.account_id,
        required=said,
    )
