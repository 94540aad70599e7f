"""Administrators give and take roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete

from app.accounts.models import Account, AccountStatus, lock_account
from app.adapters.database import count_changed_rows
from app.audit.record import Event, record_event
from app.authorization.invalidate_rights import invalidate_rights
from app.authorization.models import ADMIN, AccountRole
from app.authorization.roles.add_role import add_role
from app.authorization.roles.administrators import is_still_admin, require_another_admin
from app.authorization.scopes import is_known_role
from app.errors import Forbidden, InvalidInput, NotFound
from app.opaque_tokens import is_id
from app.settings.json_parsers import NAME_PATTERN

if TYPE_CHECKING:
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def grant_role(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, account_id: str, role: str
) -> None:
    """The account has the role from the next check on, also when it had it before. Raises InvalidInput or NotFound."""
    if not is_known_role(work.settings, role):
        raise _build_unknown_role_error()
    _require_still_admin(work, principal)
    _lock_existing_account(work, account_id)
    add_role(work, client_info, account_id=account_id, role=role, actor=principal.account_id)


def revoke_role(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, account_id: str, role: str
) -> None:
    """The account has the role no more from the next check on, also when it had it not before.

    One that ROLES has ceased to name can still be taken. Raises InvalidInput, NotFound or LastAdmin.
    """
    if not NAME_PATTERN.fullmatch(role):
        raise _build_unknown_role_error()
    _require_still_admin(work, principal)
    if role == ADMIN:
        require_another_admin(work.db, account_id)
    account = _lock_existing_account(work, account_id)
    mine = delete(AccountRole).where(AccountRole.account_id == account.id, AccountRole.role == role)
    if count_changed_rows(work.db, mine):
        invalidate_rights(work, account)
        record_event(
            work,
            Event.ROLE_REVOKED,
            client_info=client_info,
            account_id=account.id,
            role=role,
            actor=principal.account_id,
        )
    elif not is_known_role(work.settings, role):
        raise _build_unknown_role_error()


def _require_still_admin(work: UnitOfWork, principal: Principal) -> None:
    """Whoever asks is an administrator still, and stays one until this is done. Before any account is locked."""
    if not is_still_admin(work.db, principal.account_id):
        raise Forbidden("Only an administrator may do this.")


def _lock_existing_account(work: UnitOfWork, account_id: str) -> Account:
    account = lock_account(work.db, account_id) if is_id("acc", account_id) else None
    if account is None or account.status == AccountStatus.DELETED:
        raise NotFound
    return account


def _build_unknown_role_error() -> InvalidInput:
    return InvalidInput(
        errors={"/path/role": ["is neither admin nor one of those that DOORWARD_ROLES names"]}
    )
