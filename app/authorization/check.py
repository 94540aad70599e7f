"""Checks of many roles and levels in one request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, tuple_

from app.accounts.models import Account, AccountStatus
from app.authorization.errors import InsufficientScope
from app.authorization.levels import ResourceRef, get_rank_or_lowest, parse_level, parse_resource
from app.authorization.models import AccountRole, Membership
from app.authorization.rights import READ_ROLES, has_scope, is_known_role
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
    """A check for a global role, or for at least a level at a resource."""

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
    """Answer each check, in order, with at most three queries.

    An unknown role or level is an error and never a "no", so that a spelling mistake is noticed.
    Raises InvalidInput, Forbidden or InsufficientScope.
    """
    _require_allowed_to_ask(principal, {check.account_id for check in checks})
    parsed = [
        _parse_check(work.settings, check, pointer=f"/checks/{index}")
        for index, check in enumerate(checks)
    ]
    active = _find_active_accounts(work.db, {check.account_id for check in parsed})
    to_ask = [check for check in parsed if check.account_id in active]
    roles = _find_roles(work.db, {(each.account_id, each.role) for each in to_ask if each.role})
    levels = _find_levels(work.db, {(each.ref, each.account_id) for each in to_ask if each.ref})
    order = work.settings.privacy_levels

    def is_met(check: _ParsedCheck) -> bool:
        if check.ref is None:
            return (check.account_id, check.role) in roles
        return get_rank_or_lowest(order, levels.get((check.ref, check.account_id))) >= check.rank

    return tuple(check.account_id in active and is_met(check) for check in parsed)


def _require_allowed_to_ask(principal: Principal, account_ids: Collection[str]) -> None:
    if has_scope(READ_ROLES, principal.scopes):
        return
    if principal.kind is not CredentialKind.SESSION:
        raise InsufficientScope(READ_ROLES)
    if set(account_ids) != {principal.account_id}:
        raise Forbidden(
            f"Without the scope {READ_ROLES} you can only check the roles of your own account."
        )


def _parse_check(settings: Settings, check: RoleCheck, *, pointer: str) -> _ParsedCheck:
    """Validate a check. Raises InvalidInput."""
    membership = (check.resource, check.id, check.level)
    if check.role is not None and membership == (None, None, None):
        if not is_known_role(settings, check.role):
            raise InvalidInput(
                errors={f"{pointer}/role": ["must be admin or a role of DOORWARD_ROLES"]}
            )
        return _ParsedCheck(check.account_id, check.role, None, 0)
    if check.role is not None or check.resource is None or check.id is None or check.level is None:
        raise InvalidInput(errors={pointer: ["must have either role, or resource, id and level"]})
    level = parse_level(settings, check.level, pointer=f"{pointer}/level")
    ref = parse_resource(check.resource, check.id, pointer=pointer)
    return _ParsedCheck(check.account_id, None, ref, settings.privacy_levels.index(level))


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
    rows = select(AccountRole.account_id, AccountRole.role).where(
        tuple_(AccountRole.account_id, AccountRole.role).in_(wanted)
    )
    return {(row.account_id, row.role) for row in db.execute(rows)}


def _find_levels(
    db: Session, wanted: Collection[tuple[ResourceRef, str]]
) -> dict[tuple[ResourceRef, str], str]:
    if not wanted:
        return {}
    keys = [(ref.resource, ref.id, account_id) for ref, account_id in wanted]
    columns = tuple_(Membership.resource, Membership.resource_id, Membership.account_id)
    rows = db.scalars(select(Membership).where(columns.in_(keys)))
    return {(ResourceRef(row.resource, row.resource_id), row.account_id): row.level for row in rows}
