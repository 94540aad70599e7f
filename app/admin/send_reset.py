"""Starting a reset for somebody. Whoever starts it learns nothing and chooses nothing: the link goes to the owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.admin.errors import AccountNotActive
from app.admin.require_admin import require_still_admin
from app.admin.show_account import get_locked_account
from app.audit.record import Event, record_event
from app.passwords.forgot import send_reset_link

if TYPE_CHECKING:
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def send_reset(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, account_id: str
) -> None:
    """Mail the owner a link to choose another password, also where administrators may not ask for one themselves.

    Whoever never had a password gets the invitation again. The older link ends. Raises Forbidden, NotFound or AccountNotActive.
    """
    require_still_admin(work, principal)
    account = get_locked_account(work, account_id)
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
