"""Who may change the memberships of a thing, and how far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.authorization.errors import InsufficientScope
from app.authorization.levels import get_rank, get_rank_or_lowest
from app.authorization.scopes import WRITE_MEMBERSHIPS, has_scope
from app.errors import Forbidden
from app.principal import CredentialKind

if TYPE_CHECKING:
    from app.authorization.levels import ResourceRef
    from app.principal import Principal
    from app.settings import Settings


def can_grant_any_level(principal: Principal, ref: ResourceRef) -> bool:
    """May the credential grant every level at things of this sort? Administrators may, and what has the scope for it."""
    return has_scope(get_write_scope(ref), principal.scopes)


def get_write_scope(ref: ResourceRef) -> str:
    return f"{WRITE_MEMBERSHIPS}:{ref.resource}"


def require_session(principal: Principal, ref: ResourceRef) -> None:
    """A key has no memberships, so without the scope it may nothing. Raises InsufficientScope."""
    if principal.kind is not CredentialKind.SESSION:
        raise InsufficientScope(get_write_scope(ref))


def require_managing_rank(settings: Settings, level: str | None) -> int:
    """Up to which rank somebody of this level may grant: his own. Raises Forbidden below the managing level."""
    own = get_rank_or_lowest(settings.privacy_levels, level)
    if own < get_rank(settings.privacy_levels, settings.managing_level):
        raise Forbidden(
            f"Only an administrator, or whoever has the level {settings.managing_level} here, may do this."
        )
    return own


def require_rank_within(settings: Settings, level: str | None, *, max_rank: int) -> None:
    """Raises Forbidden for a level above the rank that may be reached."""
    if get_rank_or_lowest(settings.privacy_levels, level) > max_rank:
        raise Forbidden("This is above your own level.")
