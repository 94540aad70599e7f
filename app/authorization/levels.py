"""The ladder of memberships: whoever has a level has all below it. Pure rules; an unknown level is an error and grants nothing.

A role is named `<resource>-<id>-<level>`. Neither resource nor level has a dash in it, so the first dash and the last one say what
is what, and an id may have as many as it likes: most that programs make up are UUIDs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

RESOURCE_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,31}")
# What needs no quoting in a path, a header or a list, and is no step of a path such as "..".
RESOURCE_ID_PATTERN = re.compile(r"[A-Za-z0-9_:-][A-Za-z0-9_.:-]{0,63}")


class UnknownLevel(ValueError):
    """No step of the ladder."""


@dataclass(frozen=True, slots=True)
class ResourceRef:
    """One thing of an application, which accounts are members of."""

    resource: str
    id: str


def get_rank(levels: Sequence[str], level: str) -> int:
    """How high a level stands, the lowest is 0. Raises UnknownLevel."""
    try:
        return levels.index(level)
    except ValueError:
        raise UnknownLevel(level) from None


def get_rank_or_lowest(levels: Sequence[str], level: str | None) -> int:
    """How high somebody stands. Without a membership, or with a level that the ladder has ceased to name, as high as everybody."""
    return levels.index(level) if level in levels else 0


def build_role_names(
    levels: Sequence[str], resource: str, resource_id: str, level: str
) -> tuple[str, ...]:
    """`<resource>-<id>-<level>` for every level up to this one; the lowest is everybody's and is not named. Raises UnknownLevel."""
    return tuple(
        f"{resource}-{resource_id}-{step}" for step in levels[1 : get_rank(levels, level) + 1]
    )
