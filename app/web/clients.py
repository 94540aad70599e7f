"""The door of routes that ask for a client instead of a bearer of a credential."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.oauth.clients import authenticate
from app.web.form import shown_key
from app.web.guard import Door, need
from app.web.source import current_source

if TYPE_CHECKING:
    from app.principal import Principal
    from app.unit_of_work import UnitOfWork


def client_with(scope: str) -> Door:
    """A client that is an API key with the scope. Raises InvalidRequest, InvalidClient and InsufficientScope."""

    def door(work: UnitOfWork) -> Principal:
        principal = authenticate(work, current_source(), shown_key())
        need(principal, scope)
        return principal

    return door
