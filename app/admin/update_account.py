"""Changes that administrators make to other accounts: status, forced password change, logout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.accounts.models import Account, AccountStatus, get_locked_account
from app.admin.errors import AccountNotActive
from app.admin.show_account import AccountView, build_account_view
from app.audit.record import Event, record_event
from app.authorization.rights import list_roles
from app.authorization.roles.administrators import require_another_admin, require_still_admin
from app.lifecycle.revoke_access import revoke_account_sessions
from app.passwords.forgot import send_reset_link

if TYPE_CHECKING:
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork

REVOKED_BY_ADMIN = "ended_by_admin"


def update_account(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    *,
    account_id: str,
    status: str | None = None,
    must_change_password: bool | None = None,
) -> AccountView:
    """Change the given properties; a value that is already set has no effect.

    A deleted account cannot be disabled, because that would cancel its deletion.
    Raises Forbidden, NotFound, LastAdmin or AccountNotActive.
    """
    require_still_admin(work, principal)
    if status == AccountStatus.DISABLED:
        require_another_admin(work.db, account_id)
    account = get_locked_account(work.db, account_id)
    if status == AccountStatus.DISABLED and account.status == AccountStatus.DELETED:
        raise AccountNotActive
    if status is not None and status != account.status:
        _change_status(work, principal, client_info, account, AccountStatus(status))
    if must_change_password is not None and must_change_password != account.must_change_password:
        _set_must_change_password(
            work, principal, client_info, account, required=must_change_password
        )
    return build_account_view(account, list_roles(work.db, account))


def revoke_all_sessions(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, account_id: str
) -> None:
    """Revoke every session of an account, but no API key. Raises Forbidden or NotFound."""
    require_still_admin(work, principal)
    account = get_locked_account(work.db, account_id)
    count = revoke_account_sessions(work, account, reason=REVOKED_BY_ADMIN)
    record_event(
        work,
        Event.SESSIONS_ENDED,
        client_info=client_info,
        account_id=account.id,
        actor=principal.account_id,
        reason=REVOKED_BY_ADMIN,
        count=count,
    )


def send_reset(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, account_id: str
) -> None:
    """Email the owner a link to choose a new password, and invalidate earlier links.

    An account without a password gets its invitation again. This also works for administrators,
    who cannot request a reset themselves. Raises Forbidden, NotFound or AccountNotActive.
    """
    require_still_admin(work, principal)
    account = get_locked_account(work.db, account_id)
    if not account.is_active:
        raise AccountNotActive
    send_reset_link(work, account)
    record_event(
        work,
        Event.PASSWORD_RESET_SENT,
        client_info=client_info,
        account_id=account.id,
        actor=principal.account_id,
    )


def _change_status(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    account: Account,
    status: AccountStatus,
) -> None:
    """Change the status and revoke all sessions, so that restoring an account revives none."""
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
    """Require a new password, or lift the requirement.

    A password that must be changed is not trusted, so the sessions that it opened are revoked.
    """
    account.must_change_since = work.now if required else None
    if required:
        revoke_account_sessions(work, account, reason="must_change_password")
    record_event(
        work,
        Event.ACCOUNT_MUST_CHANGE,
        client_info=client_info,
        account_id=account.id,
        actor=principal.account_id,
        required="yes" if required else "no",
    )
