"""Granting a role."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.accounts.models import lock_account
from app.adapters.database import insert_if_absent
from app.audit.record import Event, record_event
from app.authorization.invalidate_rights import invalidate_rights
from app.authorization.models import AccountRole

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork


def add_role(
    work: UnitOfWork, client_info: ClientInfo, *, account_id: str, role: str, **acting: str
) -> bool:
    """Give the account a role; it counts from the next check on. False when it has it already, or there is no such account.

    `acting` names the `actor`, where that is not the service itself.
    """
    account = lock_account(work.db, account_id)
    if account is None or not insert_if_absent(
        work.db, AccountRole, account_id=account_id, role=role, granted_at=work.now
    ):
        return False
    invalidate_rights(work, account)
    record_event(
        work,
        Event.ROLE_GRANTED,
        client_info=client_info,
        account_id=account_id,
        role=role,
        **acting,
    )
    return True
