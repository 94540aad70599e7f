"""The roles of an account, and the scopes that the setting ROLES gives them.

Scopes are computed from the account's current roles at each request, so a revoked role has no
effect from the next request on. A credential can limit the scopes of its account, never extend
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from app.authorization.models import ADMIN, AccountRole

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.orm import Session

    from app.accounts.models import Account
    from app.settings import Settings

# Scopes that this service itself requires.
READ_ROLES = "roles:read"
INTROSPECT = "tokens:introspect"
READ_REVOCATIONS = "revocations:read"
WRITE_MEMBERSHIPS = "memberships:write"  # followed by a colon and the resource
OWN_SCOPES = (READ_ROLES, INTROSPECT, READ_REVOCATIONS, f"{WRITE_MEMBERSHIPS}:*")
WILDCARD_SUFFIX = ":*"


def list_roles(db: Session, account: Account) -> tuple[str, ...]:
    """Return the roles of the account, sorted. Runs no query if they never changed."""
    if not account.roles_version:
        return ()
    return tuple(
        sorted(db.scalars(select(AccountRole.role).where(AccountRole.account_id == account.id)))
    )


def is_known_role(settings: Settings, role: str) -> bool:
    return role == ADMIN or role in settings.roles


def list_scopes(settings: Settings, roles: Iterable[str]) -> tuple[str, ...]:
    """Return all scopes that these roles allow, sorted."""
    given = {scope for role in roles for scope in settings.roles.get(role, ())}
    return tuple(sorted(given | (set(OWN_SCOPES) if ADMIN in roles else set())))


def has_scope(scope: str, granted: Iterable[str]) -> bool:
    """Return whether a scope is granted, by itself or by a wildcard such as `list:*`."""
    return any(
        scope == each or (each.endswith(WILDCARD_SUFFIX) and scope.startswith(each[:-1]))
        for each in granted
    )


def narrow_scopes(requested: Iterable[str], granted: Iterable[str]) -> tuple[str, ...]:
    """Return the requested scopes that are granted, sorted."""
    return tuple(sorted({scope for scope in requested if has_scope(scope, granted)}))


def intersect_limits(first: Iterable[str] | None, second: Iterable[str] | None) -> str | None:
    """Return the scopes within both limits, separated by spaces; None means no limit.

    The intersection of `list:*` and `list:7` is `list:7`.
    """
    if first is None or second is None:
        only = second if first is None else first
        return None if only is None else " ".join(sorted(set(only)))
    left, right = set(first), set(second)
    return " ".join(sorted(set(narrow_scopes(left, right)) | set(narrow_scopes(right, left))))
