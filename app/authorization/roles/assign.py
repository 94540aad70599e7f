"""Granting and revoking global roles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete

from app.accounts.models import Account, AccountStatus, lock_account
from app.adapters.statements import count_changed_rows, insert_if_absent
from app.audit.record import Event, record_event
from app.authorization.invalidate_rights import invalidate_rights
from app.authorization.models import ADMIN, AccountRole
from app.authorization.rights import is_known_role
from app.authorization.roles.administrators import require_another_admin, require_still_admin
from app.errors import InvalidInput, NotFound
from app.opaque_tokens import is_id
from app.settings import NAME_PATTERN

if TYPE_CHECKING:
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def grant_role(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, account_id: str, role: str
) -> None:
    """Grant a role as an administrator; no effect if the account has it already.

    Raises InvalidInput, Forbidden or NotFound.
    """
    if not is_known_role(work.settings, role):
        raise _build_unknown_role_error()
    require_still_admin(work, principal)
    _lock_existing_account(work, account_id)
    add_role(work, client_info, account_id=account_id, role=role, actor=principal.account_id)


def revoke_role(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, account_id: str, role: str
) -> None:
    """Revoke a role as an administrator; no effect if the account does not have it.

    A role that was removed from the setting ROLES can still be revoked. Raises InvalidInput,
    Forbidden, NotFound or LastAdmin.
    """
    if not NAME_PATTERN.fullmatch(role):
        raise _build_unknown_role_error()
    require_still_admin(work, principal)
    if role == ADMIN:
        require_another_admin(work.db, account_id)
    account = _lock_existing_account(work, account_id)
    row = delete(AccountRole).where(AccountRole.account_id == account.id, AccountRole.role == role)
    if count_changed_rows(work.db, row):
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


def add_role(
    work: UnitOfWork, client_info: ClientInfo, *, account_id: str, role: str, **actor: str
) -> bool:
    """Add a role to an account, effective from its next request.

    Pass `actor` unless the service itself acts. Returns False if the account has the role or does
    not exist.
    """
    account = lock_account(work.db, account_id)
    if account is None or not insert_if_absent(
        work.db, AccountRole, account_id=account_id, role=role, granted_at=work.now
    ):
        return False
    invalidate_rights(work, account)
    record_event(
        work, Event.ROLE_GRANTED, client_info=client_info, account_id=account_id, role=role, **actor
    )
    return True


def _lock_existing_account(work: UnitOfWork, account_id: str) -> Account:
    account = lock_account(work.db, account_id) if is_id("acc", account_id) else None
    if account is None or account.status == AccountStatus.DELETED:
        raise NotFound
    return account


def _build_unknown_role_error() -> InvalidInput:
    return InvalidInput(errors={"/path/role": ["must be admin or a role of DOORWARD_ROLES"]})
