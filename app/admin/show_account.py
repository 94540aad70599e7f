"""Accounts as administrators see them: every field except the credentials."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from app.accounts.models import Account, find_account
from app.authorization.rights import list_roles
from app.errors import NotFound
from app.opaque_tokens import is_id

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account without its credentials."""

    id: str
    username: str
    email: str
    name: str
    locale: str
    status: str
    roles: tuple[str, ...]
    must_change_password: bool
    created_at: datetime
    last_login_at: datetime | None
    deleted_at: datetime | None


def build_account_view(account: Account, roles: tuple[str, ...]) -> AccountView:
    return AccountView(
        id=account.id,
        username=account.username,
        email=account.email,
        name=account.name,
        locale=account.locale,
        status=account.status,
        roles=roles,
        must_change_password=account.must_change_password,
        created_at=account.created_at,
        last_login_at=account.last_login_at,
        deleted_at=account.deleted_at,
    )


def get_account(work: UnitOfWork, *, account_id: str) -> AccountView:
    """Return the account, including a deleted one that is not yet erased. Raises NotFound."""
    account = find_account(work.db, account_id) if is_id("acc", account_id) else None
    if account is None:
        raise NotFound
    return build_account_view(account, list_roles(work.db, account))
