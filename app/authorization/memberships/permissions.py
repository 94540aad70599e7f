"""Who may change the memberships of a thing, and how far."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.authorization.errors import InsufficientScope
from app.authorization.levels import rank, reached
from app.authorization.scopes import WRITE_MEMBERSHIPS, allows
from app.errors import Forbidden
from app.principal import CredentialKind

if TYPE_CHECKING:
    from app.authorization.levels import Thing
    from app.principal import Principal
    from app.settings import Settings


def founds(principal: Principal, thing: Thing) -> bool:
    """May the credential grant every level at things of this sort? Administrators may, and what has the scope for it."""
    return allows(scope_of(thing), principal.scopes)


def scope_of(thing: Thing) -> str:
    return f"{WRITE_MEMBERSHIPS}:{thing.resource}"


def only_a_person(principal: Principal, thing: Thing) -> None:
    """A key has no memberships, so without the scope it may nothing. Raises InsufficientScope."""
    if principal.kind is not CredentialKind.SESSION:
        raise InsufficientScope(scope_of(thing))


def managed_up_to(settings: Settings, level: str | None) -> int:
    """Up to which rank somebody of this level may grant: his own. Raises Forbidden below the managing level."""
    own = reached(settings.privacy_levels, level)
    if own < rank(settings.privacy_levels, settings.managing_level):
        raise Forbidden(
            f"Only an administrator, or whoever has the level {settings.managing_level} here, may do this."
        )
    return own


def within(settings: Settings, level: str | None, *, most: int) -> None:
    """Raises Forbidden for a level above the rank that may be reached."""
    if reached(settings.privacy_levels, level) > most:
        raise Forbidden("This is above your own level.")
