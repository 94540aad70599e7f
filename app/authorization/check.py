"""Many questions at once: has this account that role, or that level there?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, tuple_

from app.accounts.models import Account, AccountStatus
from app.authorization.errors import InsufficientScope
from app.authorization.levels import ResourceRef, get_rank_or_lowest
from app.authorization.memberships.resource_ref import parse_level, parse_resource
from app.authorization.models import AccountRole, Membership
from app.authorization.scopes import READ_ROLES, has_scope, is_known_role
from app.errors import Forbidden, InvalidInput
from app.principal import CredentialKind

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.orm import Session

    from app.principal import Principal
    from app.settings import Settings
    from app.unit_of_work import UnitOfWork

MAX_CHECKS = 100


@dataclass(frozen=True, slots=True)
class RoleCheck:
    """One question: a global role, or a level at a thing."""

    account_id: str
    role: str | None = None
    resource: str | None = None
    id: str | None = None
    level: str | None = None


@dataclass(frozen=True, slots=True)
class _ParsedCheck:
    account_id: str
    role: str | None
    ref: ResourceRef | None
    rank: int


def check_roles(
    work: UnitOfWork, principal: Principal, *, checks: Sequence[RoleCheck]
) -> tuple[bool, ...]:
    """Yes or no to each, in order, in three statements. Raises InvalidInput, Forbidden or InsufficientScope.

    A role or level that there is not is an error of the question and never a no, so that a spelling mistake is noticed.
    """
    _require_allowed_to_ask(principal, {asked.account_id for asked in checks})
    wanted = [
        _parse_check(work.settings, asked, at=f"/checks/{place}")
        for place, asked in enumerate(checks)
    ]
    active = _find_active_accounts(work.db, {check.account_id for check in wanted})
    roles = _find_roles(
        work.db,
        {
            (check.account_id, check.role)
            for check in wanted
            if check.role and check.account_id in active
        },
    )
    levels = _find_levels(
        work.db,
        {
            (check.ref, check.account_id)
            for check in wanted
            if check.ref and check.account_id in active
        },
    )
    ladder = work.settings.privacy_levels
    return tuple(
        check.account_id in active
        and (
            (check.account_id, check.role) in roles
            if check.ref is None
            else get_rank_or_lowest(ladder, levels.get((check.ref, check.account_id))) >= check.rank
        )
        for check in wanted
    )


def _require_allowed_to_ask(principal: Principal, account_ids: Collection[str]) -> None:
    if has_scope(READ_ROLES, principal.scopes):
        return
    if principal.kind is not CredentialKind.SESSION:
        raise InsufficientScope(READ_ROLES)
    if set(account_ids) != {principal.account_id}:
        raise Forbidden(f"Without the scope {READ_ROLES} you may ask about yourself alone.")


def _parse_check(settings: Settings, asked: RoleCheck, *, at: str) -> _ParsedCheck:
    """The question, made sure of. Raises InvalidInput."""
    of_thing = (asked.resource, asked.id, asked.level)
    if asked.role is not None and of_thing == (None, None, None):
        if not is_known_role(settings, asked.role):
            raise InvalidInput(
                errors={
                    f"{at}/role": ["is neither admin nor one of those that DOORWARD_ROLES names"]
                }
            )
        return _ParsedCheck(asked.account_id, asked.role, None, 0)
    if asked.role is not None or asked.resource is None or asked.id is None or asked.level is None:
        raise InvalidInput(errors={at: ["must have either role, or resource, id and level"]})
    level = parse_level(settings, asked.level, pointer=f"{at}/level")
    thing = parse_resource(asked.resource, asked.id, pointer=at)
    return _ParsedCheck(asked.account_id, None, thing, settings.privacy_levels.index(level))


def _find_active_accounts(db: Session, account_ids: Collection[str]) -> set[str]:
    return set(
        db.scalars(
            select(Account.id).where(
                Account.id.in_(account_ids), Account.status == AccountStatus.ACTIVE
            )
        )
    )


def _find_roles(db: Session, wanted: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
    if not wanted:
        return set()
    held = select(AccountRole.account_id, AccountRole.role).where(
        tuple_(AccountRole.account_id, AccountRole.role).in_(wanted)
    )
    return {(row.account_id, row.role) for row in db.execute(held)}


def _find_levels(
    db: Session, wanted: Collection[tuple[ResourceRef, str]]
) -> dict[tuple[ResourceRef, str], str]:
    if not wanted:
        return {}
    rows = [(thing.resource, thing.id, account_id) for thing, account_id in wanted]
    place = tuple_(Membership.resource, Membership.resource_id, Membership.account_id)
    held = select(Membership).where(place.in_(rows))
    return {
        (ResourceRef(row.resource, row.resource_id), row.account_id): row.level
        for row in db.scalars(held)
    }
