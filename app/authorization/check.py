"""Many questions at once: has this account that role, or that level there?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, tuple_

from app.accounts.models import Account, Status
from app.authorization.errors import InsufficientScope
from app.authorization.levels import Thing, reached
from app.authorization.memberships.resource_ref import asked_level, asked_thing
from app.authorization.models import AccountRole, Membership
from app.authorization.scopes import READ_ROLES, allows, role_exists
from app.errors import Forbidden, InvalidInput
from app.principal import CredentialKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.orm import Session

    from app.principal import Principal
    from app.settings import Settings
    from app.unit_of_work import UnitOfWork

MOST = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """One question: a global role, or a level at a thing."""

    account_id: str
    role: str | None = None
    resource: str | None = None
    id: str | None = None
    level: str | None = None


@dataclass(frozen=True, slots=True)
class _Check:
    account_id: str
    role: str | None
    thing: Thing | None
    rank: int


def check_roles(
    work: UnitOfWork, principal: Principal, *, checks: Sequence[Asked]
) -> tuple[bool, ...]:
    """Yes or no to each, in order, in three statements. Raises InvalidInput, Forbidden or InsufficientScope.

    A role or level that there is not is an error of the question and never a no, so that a spelling mistake is noticed.
    """
    _may_ask(principal, {asked.account_id for asked in checks})
    wanted = [
        _read(work.settings, asked, at=f"/checks/{place}") for place, asked in enumerate(checks)
    ]
    active = _active(work.db, {check.account_id for check in wanted})
    roles = _roles(
        work.db,
        {
            (check.account_id, check.role)
            for check in wanted
            if check.role and check.account_id in active
        },
    )
    levels = _levels(
        work.db,
        {
            (check.thing, check.account_id)
            for check in wanted
            if check.thing and check.account_id in active
        },
    )
    ladder = work.settings.privacy_levels
    return tuple(
        check.account_id in active
        and (
            (check.account_id, check.role) in roles
            if check.thing is None
            else reached(ladder, levels.get((check.thing, check.account_id))) >= check.rank
        )
        for check in wanted
    )


def _may_ask(principal: Principal, account_ids: Collection[str]) -> None:
    if allows(READ_ROLES, principal.scopes):
        return
    if principal.kind is not CredentialKind.SESSION:
        raise InsufficientScope(READ_ROLES)
    if set(account_ids) != {principal.account_id}:
        raise Forbidden(f"Without the scope {READ_ROLES} you may ask about yourself alone.")


def _read(settings: Settings, asked: Asked, *, at: str) -> _Check:
    """The question, made sure of. Raises InvalidInput."""
    of_thing = (asked.resource, asked.id, asked.level)
    if asked.role is not None and of_thing == (None, None, None):
        if not role_exists(settings, asked.role):
            raise InvalidInput(
                errors={
                    f"{at}/role": ["is neither admin nor one of those that DOORWARD_ROLES names"]
                }
            )
        return _Check(asked.account_id, asked.role, None, 0)
    if asked.role is not None or asked.resource is None or asked.id is None or asked.level is None:
        raise InvalidInput(errors={at: ["must have either role, or resource, id and level"]})
    level = asked_level(settings, asked.level, at=f"{at}/level")
    thing = asked_thing(asked.resource, asked.id, at=at)
    return _Check(asked.account_id, None, thing, settings.privacy_levels.index(level))


def _active(db: Session, account_ids: Collection[str]) -> set[str]:
    return set(
        db.scalars(
            select(Account.id).where(Account.id.in_(account_ids), Account.status == Status.ACTIVE)
        )
    )


def _roles(db: Session, wanted: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    if not wanted:
        return set()
    held = select(AccountRole.account_id, AccountRole.role).where(
        tuple_(AccountRole.account_id, AccountRole.role).in_(wanted)
    )
    return {(row.account_id, row.role) for row in db.execute(held)}


def _levels(db: Session, wanted: Collection[tuple[Thing, str]]) -> dict[tuple[Thing, str], str]:
    if not wanted:
        return {}
    rows = [(thing.resource, thing.id, account_id) for thing, account_id in wanted]
    place = tuple_(Membership.resource, Membership.resource_id, Membership.account_id)
    held = select(Membership).where(place.in_(rows))
    return {
        (Thing(row.resource, row.resource_id), row.account_id): row.level
        for row in db.scalars(held)
    }
