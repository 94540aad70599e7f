"""Administrators give and take roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete

from app.accounts.models import Account, Status, locked
from app.adapters.database import count_changed_rows
from app.audit.record import Event, record_event
from app.authorization.models import ADMIN, AccountRole
from app.authorization.rights_changed import moved
from app.authorization.roles.grant import grant
from app.authorization.roles.last_admin import keep_an_admin, still_admin
from app.authorization.scopes import role_exists
from app.errors import Forbidden, InvalidInput, NotFound
from app.opaque_tokens import is_id
from app.settings.maps import NAME

if TYPE_CHECKING:
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def give_role(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, account_id: str, role: str
) -> None:
    """The account has the role from the next check on, also when it had it before. Raises InvalidInput or NotFound."""
    if not role_exists(work.settings, role):
        raise _no_such_role()
    _as_admin(work, principal)
    _there(work, account_id)
    grant(work, client_info, account_id=account_id, role=role, actor=principal.account_id)


def take_role(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, account_id: str, role: str
) -> None:
    """The account has the role no more from the next check on, also when it had it not before.

    One that ROLES has ceased to name can still be taken. Raises InvalidInput, NotFound or LastAdmin.
    """
    if not NAME.fullmatch(role):
        raise _no_such_role()
    _as_admin(work, principal)
    if role == ADMIN:
        keep_an_admin(work.db, account_id)
    account = _there(work, account_id)
    mine = delete(AccountRole).where(AccountRole.account_id == account.id, AccountRole.role == role)
    if count_changed_rows(work.db, mine):
        moved(work, account)
        record_event(
            work,
            Event.ROLE_REVOKED,
            client_info=client_info,
            account_id=account.id,
            role=role,
            actor=principal.account_id,
        )
    elif not role_exists(work.settings, role):
        raise _no_such_role()


def _as_admin(work: UnitOfWork, principal: Principal) -> None:
    """Whoever asks is an administrator still, and stays one until this is done. Before any account is locked."""
    if not still_admin(work.db, principal.account_id):
        raise Forbidden("Only an administrator may do this.")


def _there(work: UnitOfWork, account_id: str) -> Account:
    account = locked(work.db, account_id) if is_id("acc", account_id) else None
    if account is None or account.status == Status.DELETED:
        raise NotFound
    return account


def _no_such_role() -> InvalidInput:
    return InvalidInput(
        errors={"/path/role": ["is neither admin nor one of those that DOORWARD_ROLES names"]}
    )
