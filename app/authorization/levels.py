"""Resources of applications and the levels of membership in them: rules and input parsing.

Levels are ordered by the setting PRIVACY_LEVELS; each level includes all lower ones. A role name
is `<resource>-<id>-<level>`. Resource and level contain no dash, so an id may contain dashes (as
UUIDs do) and the name can still be split unambiguously.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.settings import Settings

RESOURCE_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,31}")
# Safe without quoting in paths, headers and lists, and never a path segment such as "..".
RESOURCE_ID_PATTERN = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9_.:-]{0,63}")

INVALID_RESOURCE = "must be 1 to 32 characters of a-z, 0-9 and underscore, starting with a letter"
INVALID_RESOURCE_ID = (
    "must be 1 to 64 characters of a-z, A-Z, 0-9, underscore, colon, dash and dot, "
    "not starting with a dot"
)


class UnknownLevel(ValueError):
    """A level that the setting PRIVACY_LEVELS does not name."""


@dataclass(frozen=True, slots=True)
class ResourceRef:
    """A resource of an application, in which accounts can have memberships."""

    resource: str
    id: str


def get_rank(levels: Sequence[str], level: str) -> int:
    """Return the position of a level; the lowest is 0. Raises UnknownLevel."""
    try:
        return levels.index(level)
    except ValueError:
        raise UnknownLevel(level) from None


def get_rank_or_lowest(levels: Sequence[str], level: str | None) -> int:
    """Return the position of a level; no level, or one that was removed, counts as the lowest."""
    return levels.index(level) if level in levels else 0


def build_role_names(
    levels: Sequence[str], resource: str, resource_id: str, level: str
) -> tuple[str, ...]:
    """Build one role name for each level up to this one. Raises UnknownLevel.

    The lowest level is left out, because every account has it.
    """
    reached = levels[1 : get_rank(levels, level) + 1]
    return tuple(f"{resource}-{resource_id}-{each}" for each in reached)


def parse_resource(resource: str, resource_id: str, *, pointer: str) -> ResourceRef:
    """Validate a resource and its id.

    Raises InvalidInput, with JSON pointers that begin with `pointer`.
    """
    errors = {}
    if not RESOURCE_PATTERN.fullmatch(resource):
        errors[f"{pointer}/resource"] = [INVALID_RESOURCE]
    if not RESOURCE_ID_PATTERN.fullmatch(resource_id):
        errors[f"{pointer}/id"] = [INVALID_RESOURCE_ID]
    if errors:
        raise InvalidInput(errors=errors)
    return ResourceRef(resource, resource_id)


def parse_optional_resource(
    resource: str | None, resource_id: str | None, *, pointer: str
) -> ResourceRef | None:
    """Validate a resource and its id, or return None if both are missing. Raises InvalidInput."""
    if resource is None and resource_id is None:
        return None
    if resource is None or resource_id is None:
        missing = "resource" if resource is None else "id"
        raise InvalidInput(
            errors={f"{pointer}/{missing}": ["is missing: send both resource and id, or neither"]}
        )
    return parse_resource(resource, resource_id, pointer=pointer)


def parse_level(settings: Settings, level: str, *, pointer: str) -> str:
    """Validate a level. Raises InvalidInput."""
    if level not in settings.privacy_levels:
        names = ", ".join(settings.privacy_levels)
        raise InvalidInput(errors={pointer: [f"must be one of {names}"]})
    return level
