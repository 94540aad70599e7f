"""What a request names, made sure of before anything is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.authorization.levels import RESOURCE_ID_PATTERN, RESOURCE_PATTERN, ResourceRef
from app.errors import InvalidInput

if TYPE_CHECKING:
    from app.settings import Settings

INVALID_RESOURCE = (
    "must have 1 to 32 of the characters a-z, 0-9 and underscore, and begin with a letter"
)
INVALID_RESOURCE_ID = "must have 1 to 64 of the characters a-z, A-Z, 0-9, underscore, colon, dash and dot, and not begin with a dot"


def parse_resource(resource: str, resource_id: str, *, pointer: str) -> ResourceRef:
    """The thing of these names. `at` is where they stand, a JSON pointer. Raises InvalidInput."""
    faults = {}
    if not RESOURCE_PATTERN.fullmatch(resource):
        faults[f"{pointer}/resource"] = [INVALID_RESOURCE]
    if not RESOURCE_ID_PATTERN.fullmatch(resource_id):
        faults[f"{pointer}/id"] = [INVALID_RESOURCE_ID]
    if faults:
        raise InvalidInput(errors=faults)
    return ResourceRef(resource, resource_id)


def parse_optional_resource(
    resource: str | None, resource_id: str | None, *, pointer: str
) -> ResourceRef | None:
    """The same where both or neither are given. Raises InvalidInput."""
    if resource is None and resource_id is None:
        return None
    if resource is None or resource_id is None:
        missing = "resource" if resource is None else "id"
        raise InvalidInput(
            errors={
                f"{pointer}/{missing}": ["is needed beside the other one: send both, or neither"]
            }
        )
    return parse_resource(resource, resource_id, pointer=pointer)


def parse_level(settings: Settings, level: str, *, pointer: str) -> str:
    """A level of the ladder. Raises InvalidInput."""
    if level not in settings.privacy_levels:
        raise InvalidInput(
            errors={pointer: [f"must be one of {', '.join(settings.privacy_levels)}"]}
        )
    return level
