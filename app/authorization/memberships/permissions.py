"""Rules on who may change memberships, and up to which level."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.authorization.errors import InsufficientScope
from app.authorization.levels import get_rank, get_rank_or_lowest
from app.authorization.rights import WRITE_MEMBERSHIPS, has_scope
from app.errors import Forbidden
from app.principal import CredentialKind

if TYPE_CHECKING:
    from app.authorization.levels import ResourceRef
    from app.principal import Principal
    from app.settings import Settings


def can_grant_any_level(principal: Principal, ref: ResourceRef) -> bool:
    """Return whether the principal may grant every level at resources of this kind.

    Administrators may, and credentials with the scope `memberships:write:<resource>`.
    """
    return has_scope(get_write_scope(ref), principal.scopes)


def get_write_scope(ref: ResourceRef) -> str:
    return f"{WRITE_MEMBERSHIPS}:{ref.resource}"


def require_session(principal: Principal, ref: ResourceRef) -> None:
    """Reject credentials that cannot be members, such as API keys. Raises InsufficientScope."""
    if principal.kind is not CredentialKind.SESSION:
        raise InsufficientScope(get_write_scope(ref))


def require_managing_rank(settings: Settings, level: str | None) -> int:
    """Return the highest rank that a member of this level may grant, which is its own rank.

    Raises Forbidden below the setting MANAGING_LEVEL.
    """
    own = get_rank_or_lowest(settings.privacy_levels, level)
    if own < get_rank(settings.privacy_levels, settings.managing_level):
        raise Forbidden(
            f"Only administrators and members with at least the level {settings.managing_level} "
            "may do this."
        )
    return own


def require_rank_within(settings: Settings, level: str | None, *, max_rank: int) -> None:
    """Reject a level above the rank. Raises Forbidden."""
    if get_rank_or_lowest(settings.privacy_levels, level) > max_rank:
        raise Forbidden("You cannot change memberships above your own level.")
