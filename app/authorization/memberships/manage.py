"""Letting accounts in to things of an application, and out again.

Accounts are locked in the order of their ids, and what somebody may is worked out under the lock: whoever loses a level while he
grants it either was quicker, or may no more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, select, update

from app.accounts.models import Account, Status
from app.adapters.database import count_changed_rows
from app.audit.record import Event, record_event
from app.authorization.memberships.permissions import founds, managed_up_to, only_a_person, within
from app.authorization.memberships.resource_ref import asked_level, asked_thing
from app.authorization.models import Membership, of_thing
from app.authorization.rights_changed import moved
from app.errors import NotFound, Unauthenticated
from app.opaque_tokens import is_id
from app.principal import CredentialKind

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.orm import Session

    from app.authorization.levels import Thing
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork

PATH = "/path"


@dataclass(frozen=True, slots=True)
class _Standing:
    """An account that is locked, and its level at the thing."""

    account: Account
    level: str | None


def let_in(
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
    thing = asked_thing(resource, resource_id, at=PATH)
    asked_level(work.settings, level, at="/level")
    standing = _changeable(work, principal, thing, account_id=account_id, wanted=level)
    if standing.level == level:
        return
    _write(work, thing, standing, level)
    moved(work, standing.account)
    _remember(
        work,
        principal,
        client_info,
        Event.MEMBERSHIP_GRANTED,
        account=standing.account,
        thing=thing,
        level=level,
    )


def let_out(
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
    thing = asked_thing(resource, resource_id, at=PATH)
    standing = _changeable(work, principal, thing, account_id=account_id, wanted=None)
    if standing.level is None:
        return
    work.db.execute(
        delete(Membership).where(of_thing(thing), Membership.account_id == standing.account.id)
    )
    moved(work, standing.account)
    _remember(
        work,
        principal,
        client_info,
        Event.MEMBERSHIP_ENDED,
        account=standing.account,
        thing=thing,
        level=standing.level,
    )


def _changeable(
    work: UnitOfWork, principal: Principal, thing: Thing, *, account_id: str, wanted: str | None
) -> _Standing:
    """The account and its level, locked, once it is sure that whoever asks may change it to the one that is wanted."""
    by_right = founds(principal, thing)
    leaves = (
        wanted is None
        and principal.kind is CredentialKind.SESSION
        and account_id == principal.account_id
    )
    if not by_right and not leaves:
        only_a_person(principal, thing)
    found = _locked(
        work.db, thing, {account_id} if by_right else {account_id, principal.account_id}
    )
    target = found.get(account_id)
    if not by_right:
        own = found.get(principal.account_id)
        if own is None or not own.account.active:
            raise Unauthenticated
        if not leaves:
            most = managed_up_to(work.settings, own.level)
            within(work.settings, target.level if target else None, most=most)
            within(work.settings, wanted, most=most)
    if target is None or target.account.status == Status.DELETED:
        raise NotFound
    return target


def _locked(db: Session, thing: Thing, account_ids: Collection[str]) -> dict[str, _Standing]:
    """These accounts as they are now, kept so until the transaction ends, and the level that each has at the thing."""
    ids = sorted(one for one in account_ids if is_id("acc", one))
    wanted = select(Account).where(Account.id.in_(ids)).order_by(Account.id)
    accounts = db.scalars(wanted.with_for_update().execution_options(populate_existing=True)).all()
    held = select(Membership.account_id, Membership.level).where(
        of_thing(thing), Membership.account_id.in_(ids)
    )
    levels = {row.account_id: row.level for row in db.execute(held)}
    return {account.id: _Standing(account, levels.get(account.id)) for account in accounts}


def _write(work: UnitOfWork, thing: Thing, standing: _Standing, level: str) -> None:
    mine = Membership.account_id == standing.account.id
    values = {"level": level, "granted_at": work.now}
    if not count_changed_rows(
        work.db, update(Membership).where(of_thing(thing), mine).values(values)
    ):
        work.db.add(
            Membership(
                resource=thing.resource,
                resource_id=thing.id,
                account_id=standing.account.id,
                **values,
            )
        )


def _remember(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    event: Event,
    *,
    account: Account,
    thing: Thing,
    level: str,
) -> None:
    actor, role = principal.key_id or principal.account_id, f"{thing.resource}-{thing.id}-{level}"
    record_event(
        work, event, client_info=client_info, account_id=account.id, role=role, actor=actor
    )
