"""Queries for the roles of an account and the members of a resource."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from app import pagination as cursors
from app.accounts.models import Account, AccountStatus, find_account
from app.authorization.errors import InsufficientScope
from app.authorization.levels import build_role_names, parse_optional_resource, parse_resource
from app.authorization.memberships.permissions import (
    can_grant_any_level,
    require_managing_rank,
    require_session,
)
from app.authorization.models import Membership, find_level, matches_resource
from app.authorization.rights import READ_ROLES, has_scope, list_roles
from app.errors import NotFound
from app.opaque_tokens import is_id
from app.principal import CredentialKind

if TYPE_CHECKING:
    from app.authorization.levels import ResourceRef
    from app.principal import Principal
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a resource."""

    account_id: str
    username: str
    level: str
    granted_at: datetime


@dataclass(frozen=True, slots=True)
class MemberPage:
    """A page of members; `next` is the cursor of the following page."""

    items: tuple[Member, ...]
    next: str | None


def get_roles(
    work: UnitOfWork,
    principal: Principal,
    *,
    account_id: str,
    resource: str | None,
    resource_id: str | None,
) -> tuple[str, ...]:
    """Return the global roles of the account and, with a resource, its roles there.

    A disabled account has no roles. Raises InvalidInput, InsufficientScope or NotFound; NotFound
    also if the principal may not read the roles, so that it cannot find out which accounts exist.
    """
    ref = parse_optional_resource(resource, resource_id, pointer="/query")
    if not has_scope(READ_ROLES, principal.scopes):
        if principal.kind is not CredentialKind.SESSION:
            raise InsufficientScope(READ_ROLES)
        if account_id != principal.account_id:
            raise NotFound
    account = find_account(work.db, account_id) if is_id("acc", account_id) else None
    if account is None or account.status == AccountStatus.DELETED:
        raise NotFound
    return (
        list_roles(work.db, account) + list_resource_roles(work, account, ref)
        if account.is_active
        else ()
    )


def list_resource_roles(
    work: UnitOfWork, account: Account, ref: ResourceRef | None
) -> tuple[str, ...]:
    """Return a role name for each level that the account has at the resource, if one is given."""
    level = find_level(work.db, account, ref) if ref else None
    levels = work.settings.privacy_levels
    return build_role_names(levels, ref.resource, ref.id, level) if ref and level in levels else ()


def list_members(
    work: UnitOfWork,
    principal: Principal,
    *,
    resource: str,
    resource_id: str,
    limit: int,
    cursor: str | None,
) -> MemberPage:
    """List the members of a resource, sorted by account id.

    Raises InvalidInput, Forbidden or InsufficientScope.
    """
    ref = parse_resource(resource, resource_id, pointer="/path")
    _require_allowed_to_list(work, principal, ref)
    listing = f"memberships {ref.resource} {ref.id}"
    after = (
        cursors.decode_cursor(work.settings.secret_key, listing, cursor)
        if cursor is not None
        else ""
    )
    rows = work.db.execute(
        select(Membership.account_id, Account.username, Membership.level, Membership.granted_at)
        .join(Account, Account.id == Membership.account_id)
        .where(
            matches_resource(ref),
            Membership.account_id > after,
            Account.status != AccountStatus.DELETED,
        )
        .order_by(Membership.account_id)
        .limit(limit + 1)
    ).all()
    items = tuple(
        Member(row.account_id, row.username, row.level, row.granted_at) for row in rows[:limit]
    )
    more = (
        cursors.encode_cursor(work.settings.secret_key, listing, items[-1].account_id)
        if len(rows) > limit
        else None
    )
    return MemberPage(items, more)


def _require_allowed_to_list(work: UnitOfWork, principal: Principal, ref: ResourceRef) -> None:
    if can_grant_any_level(principal, ref) or has_scope(READ_ROLES, principal.scopes):
        return
    require_session(principal, ref)
    account = find_account(work.db, principal.account_id)
    require_managing_rank(work.settings, find_level(work.db, account, ref) if account else None)
