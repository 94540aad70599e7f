"""Signing somebody out everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.admin.require_admin import require_still_admin
from app.admin.show_account import get_locked_account
from app.audit.record import Event, record_event
from app.lifecycle.revoke_access import revoke_account_sessions

if TYPE_CHECKING:
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork

REASON = "ended_by_admin"


def revoke_all_sessions(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, account_id: str
) -> None:
    """End every session of an account, the one that asks too where it is one's own. API keys stay. Raises Forbidden or NotFound."""
    require_still_admin(work, principal)
    account = get_locked_account(work, account_id)
    ended = revoke_account_sessions(work, account, reason=REASON)
    record_event(
        work,
        Event.SESSIONS_ENDED,
        client_info=client_info,
        account_id=account.id,
        actor=principal.account_id,
        reason=REASON,
        count=ended,
    )
