"""What roles allow: scopes, by the setting ROLES. A right is worked out anew at each use, so one that was taken away is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.authorization.models import ADMIN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.settings import Settings

# Scopes that this service itself asks for.
READ_ROLES = "roles:read"
INTROSPECT = "tokens:introspect"
READ_REVOCATIONS = "revocations:read"
WRITE_MEMBERSHIPS = "memberships:write"  # followed by a colon and the resource
OWN_SCOPES = (READ_ROLES, INTROSPECT, READ_REVOCATIONS, f"{WRITE_MEMBERSHIPS}:*")
WILDCARD_SUFFIX = ":*"


def is_known_role(settings: Settings, role: str) -> bool:
    return role == ADMIN or role in settings.roles


def list_scopes(settings: Settings, roles: Iterable[str]) -> tuple[str, ...]:
    """Everything that these roles allow, in order."""
    given = {scope for role in roles for scope in settings.roles.get(role, ())}
    return tuple(sorted(given | (set(OWN_SCOPES) if ADMIN in roles else set())))


def has_scope(scope: str, granted: Iterable[str]) -> bool:
    """Is the scope among those held? One that ends in :* holds whatever begins like it."""
    return any(
        scope == one or (one.endswith(WILDCARD_SUFFIX) and scope.startswith(one[:-1]))
        for one in granted
    )


def narrow_scopes(requested: Iterable[str], granted: Iterable[str]) -> tuple[str, ...]:
    """Those of the scopes asked for that are held, in order. Never more than was asked."""
    return tuple(sorted({scope for scope in requested if has_scope(scope, granted)}))


def intersect_limits(first: Iterable[str] | None, second: Iterable[str] | None) -> str | None:
    """What two limits have in common, as one text; None is no limit. Where one says list:* and the other list:7, that is list:7."""
    if first is None or second is None:
        both = first if second is None else second
        return None if both is None else " ".join(sorted(set(both)))
    left, right = set(first), set(second)
    return " ".join(sorted(set(narrow_scopes(left, right)) | set(narrow_scopes(right, left))))
