"""What a request names, made sure of before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.authorization.levels import RESOURCE, RESOURCE_ID, Thing
from app.errors import InvalidInput

if TYPE_CHECKING:
    from app.settings import Settings

NOT_A_RESOURCE = (
    "must have 1 to 32 of the characters a-z, 0-9 and underscore, and begin with a letter"
)
NOT_AN_ID = "must have 1 to 64 of the characters a-z, A-Z, 0-9, underscore, colon, dash and dot, and not begin with a dot"


def asked_thing(resource: str, resource_id: str, *, at: str) -> Thing:
    """The thing of these names. `at` is where they stand, a JSON pointer. Raises InvalidInput."""
    faults = {}
    if not RESOURCE.fullmatch(resource):
        faults[f"{at}/resource"] = [NOT_A_RESOURCE]
    if not RESOURCE_ID.fullmatch(resource_id):
        faults[f"{at}/id"] = [NOT_AN_ID]
    if faults:
        raise InvalidInput(errors=faults)
    return Thing(resource, resource_id)


def asked_thing_or_none(resource: str | None, resource_id: str | None, *, at: str) -> Thing | None:
    """The same where both or neither are given. Raises InvalidInput."""
    if resource is None and resource_id is None:
        return None
    if resource is None or resource_id is None:
        missing = "resource" if resource is None else "id"
        raise InvalidInput(
            errors={f"{at}/{missing}": ["is needed beside the other one: send both, or neither"]}
        )
    return asked_thing(resource, resource_id, at=at)


def asked_level(settings: Settings, level: str, *, at: str) -> str:
    """A level of the ladder. Raises InvalidInput."""
    if level not in settings.privacy_levels:
        raise InvalidInput(errors={at: [f"must be one of {', '.join(settings.privacy_levels)}"]})
    return level
