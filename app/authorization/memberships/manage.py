"""Letting accounts in to things of an application, and out again.

Accounts are locked in the order of their ids, and what somebody may is worked out under the lock: whoever loses a level while he
grants it either was quicker, or may no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from app.accounts.models import Account, AccountStatus
from app.adapters.database import count_changed_rows
from app.audit.record import Event, record_event
from app.authorization.invalidate_rights import invalidate_rights
from app.authorization.memberships.permissions import (
    can_grant_any_level,
    require_managing_rank,
    require_rank_within,
    require_session,
)
from app.authorization.memberships.resource_ref import parse_level, parse_resource
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
    """An account that is locked, and its level at the thing."""

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
    """Give the account this level at the thing, instead of another one that it has there.

    Raises InvalidInput, Forbidden, InsufficientScope or NotFound.
    """
    thing = parse_resource(resource, resource_id, pointer=PATH_POINTER)
    parse_level(work.settings, level, pointer="/level")
    standing = _lock_changeable_member(work, principal, thing, account_id=account_id, wanted=level)
    if standing.level == level:
        return
    _save_membership(work, thing, standing, level)
    invalidate_rights(work, standing.account)
    _record_change(
        work,
        principal,
        client_info,
        Event.MEMBERSHIP_GRANTED,
        account=standing.account,
        ref=thing,
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
    """The account is no member of the thing any more, also when it was none.

    Raises InvalidInput, Forbidden, InsufficientScope or NotFound.
    """
    thing = parse_resource(resource, resource_id, pointer=PATH_POINTER)
    standing = _lock_changeable_member(work, principal, thing, account_id=account_id, wanted=None)
    if standing.level is None:
        return
    work.db.execute(
        delete(Membership).where(
            matches_resource(thing), Membership.account_id == standing.account.id
        )
    )
    invalidate_rights(work, standing.account)
    _record_change(
        work,
        principal,
        client_info,
        Event.MEMBERSHIP_ENDED,
        account=standing.account,
        ref=thing,
        level=standing.level,
    )


def _lock_changeable_member(
    work: UnitOfWork, principal: Principal, ref: ResourceRef, *, account_id: str, wanted: str | None
) -> _LockedMember:
    """The account and its level, locked, once it is sure that whoever asks may change it to the one that is wanted."""
    by_right = can_grant_any_level(principal, ref)
    leaves = (
        wanted is None
        and principal.kind is CredentialKind.SESSION
        and account_id == principal.account_id
    )
    if not by_right and not leaves:
        require_session(principal, ref)
    found = _lock_members(
        work.db, ref, {account_id} if by_right else {account_id, principal.account_id}
    )
    target = found.get(account_id)
    if not by_right:
        own = found.get(principal.account_id)
        if own is None or not own.account.is_active:
            raise Unauthenticated
        if not leaves:
            most = require_managing_rank(work.settings, own.level)
            require_rank_within(work.settings, target.level if target else None, max_rank=most)
            require_rank_within(work.settings, wanted, max_rank=most)
    if target is None or target.account.status == AccountStatus.DELETED:
        raise NotFound
    return target


def _lock_members(
    db: Session, ref: ResourceRef, account_ids: Collection[str]
) -> dict[str, _LockedMember]:
    """These accounts as they are now, kept so until the transaction ends, and the level that each has at the thing."""
    ids = sorted(one for one in account_ids if is_id("acc", one))
    wanted = select(Account).where(Account.id.in_(ids)).order_by(Account.id)
    accounts = db.scalars(wanted.with_for_update().execution_options(populate_existing=True)).all()
    held = select(Membership.account_id, Membership.level).where(
        matches_resource(ref), Membership.account_id.in_(ids)
    )
    levels = {row.account_id: row.level for row in db.execute(held)}
    return {account.id: _LockedMember(account, levels.get(account.id)) for account in accounts}


def _save_membership(work: UnitOfWork, ref: ResourceRef, member: _LockedMember, level: str) -> None:
    mine = Membership.account_id == member.account.id
    values = {"level": level, "granted_at": work.now}
    if not count_changed_rows(
        work.db, update(Membership).where(matches_resource(ref), mine).values(values)
    ):
        work.db.add(
            Membership(
                resource=ref.resource,
                resource_id=ref.id,
                account_id=member.account.id,
                **values,
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
