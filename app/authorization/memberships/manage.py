"""Granting and revoking memberships.

Accounts are locked in the order of their ids, and permissions are checked under the lock, so that
a manager whose own level is revoked at the same time cannot use it any more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from app.accounts.models import Account, AccountStatus
from app.adapters.statements import count_changed_rows
from app.audit.record import Event, record_event
from app.authorization.invalidate_rights import invalidate_rights
from app.authorization.levels import parse_level, parse_resource
from app.authorization.memberships.permissions import (
    can_grant_any_level,
    require_managing_rank,
    require_rank_within,
    require_session,
)
from app.authorization.models import Membership, matches_resource
from app.errors import NotFound, Unauthenticated
from app.opaque_tokens import is_id
from app.principal import CredentialKind

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.orm import Session

    from app.authorization.levels import ResourceRef
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork

PATH_POINTER = "/path"


@dataclass(frozen=True, slots=True)
class _LockedMember:
    """A locked account and its level at the resource."""

    account: Account
    level: str | None


def grant_membership(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    *,
    resource: str,
    resource_id: str,
    account_id: str,
    level: str,
) -> None:
    """Give the account this level at the resource, replacing any other.

    Raises InvalidInput, Forbidden, InsufficientScope or NotFound.
    """
    ref = parse_resource(resource, resource_id, pointer=PATH_POINTER)
    parse_level(work.settings, level, pointer="/level")
    member = _lock_changeable_member(work, principal, ref, account_id=account_id, wanted=level)
    if member.level == level:
        return
    _save_membership(work, ref, member, level)
    invalidate_rights(work, member.account)
    _record_change(
        work,
        principal,
        client_info,
        Event.MEMBERSHIP_GRANTED,
        account=member.account,
        ref=ref,
        level=level,
    )


def revoke_membership(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    *,
    resource: str,
    resource_id: str,
    account_id: str,
) -> None:
    """Remove the account from the resource; no effect if it is not a member.

    Raises InvalidInput, Forbidden, InsufficientScope or NotFound.
    """
    ref = parse_resource(resource, resource_id, pointer=PATH_POINTER)
    member = _lock_changeable_member(work, principal, ref, account_id=account_id, wanted=None)
    if member.level is None:
        return
    work.db.execute(
        delete(Membership).where(matches_resource(ref), Membership.account_id == member.account.id)
    )
    invalidate_rights(work, member.account)
    _record_change(
        work,
        principal,
        client_info,
        Event.MEMBERSHIP_ENDED,
        account=member.account,
        ref=ref,
        level=member.level,
    )


def _lock_changeable_member(
    work: UnitOfWork, principal: Principal, ref: ResourceRef, *, account_id: str, wanted: str | None
) -> _LockedMember:
    """Lock the account after checking that the principal may change its level to `wanted`."""
    is_unrestricted = can_grant_any_level(principal, ref)
    is_leaving = (
        wanted is None
        and principal.kind is CredentialKind.SESSION
        and account_id == principal.account_id
    )
    if not is_unrestricted and not is_leaving:
        require_session(principal, ref)
    found = _lock_members(
        work.db, ref, {account_id} if is_unrestricted else {account_id, principal.account_id}
    )
    target = found.get(account_id)
    if not is_unrestricted:
        own = found.get(principal.account_id)
        if own is None or not own.account.is_active:
            raise Unauthenticated
        if not is_leaving:
            max_rank = require_managing_rank(work.settings, own.level)
            present = target.level if target else None
            require_rank_within(work.settings, present, max_rank=max_rank)
            require_rank_within(work.settings, wanted, max_rank=max_rank)
    if target is None or target.account.status == AccountStatus.DELETED:
        raise NotFound
    return target


def _lock_members(
    db: Session, ref: ResourceRef, account_ids: Collection[str]
) -> dict[str, _LockedMember]:
    """Lock the accounts until the transaction ends and return them with their levels, by id."""
    ids = sorted(each for each in account_ids if is_id("acc", each))
    rows = select(Account).where(Account.id.in_(ids)).order_by(Account.id)
    accounts = db.scalars(rows.with_for_update().execution_options(populate_existing=True)).all()
    memberships = select(Membership.account_id, Membership.level).where(
        matches_resource(ref), Membership.account_id.in_(ids)
    )
    levels = {row.account_id: row.level for row in db.execute(memberships)}
    return {account.id: _LockedMember(account, levels.get(account.id)) for account in accounts}


def _save_membership(work: UnitOfWork, ref: ResourceRef, member: _LockedMember, level: str) -> None:
    is_own = Membership.account_id == member.account.id
    values = {"level": level, "granted_at": work.now}
    if not count_changed_rows(
        work.db, update(Membership).where(matches_resource(ref), is_own).values(values)
    ):
        work.db.add(
            Membership(
                resource=ref.resource, resource_id=ref.id, account_id=member.account.id, **values
            )
        )


def _record_change(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    event: Event,
    *,
    account: Account,
    ref: ResourceRef,
    level: str,
) -> None:
    actor, role = principal.key_id or principal.account_id, f"{ref.resource}-{ref.id}-{level}"
    record_event(
        work, event, client_info=client_info, account_id=account.id, role=role, actor=actor
    )
