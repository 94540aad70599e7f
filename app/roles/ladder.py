"""The ladder of memberships: whoever has a level has all below it. Pure rules; an unknown level is an error and grants nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class UnknownLevel(ValueError):
    """No step of the ladder."""


def rank(ladder: Sequence[str], level: str) -> int:
    """How high a level stands, the lowest is 0. Raises UnknownLevel."""
    try:
        return ladder.index(level)
    except ValueError:
        raise UnknownLevel(level) from None


def role_names(ladder: Sequence[str], resource: str, resource_id: str, level: str) -> tuple[str, ...]:
    """`<resource>-<id>-<level>` for every level up to this one; the lowest is everybody's and is not named. Raises UnknownLevel."""
    return tuple(f"{resource}-{resource_id}-{step}" for step in ladder[1 : rank(ladder, level) + 1])
