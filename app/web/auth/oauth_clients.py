"""The door of routes that ask for a client instead of a bearer of a credential."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.oauth.clients import authenticate
from app.web.auth.credentials import Door, need
from app.web.client_info import get_client_info
from app.web.oauth.forms import shown_key

if TYPE_CHECKING:
    from app.principal import Principal
    from app.unit_of_work import UnitOfWork


def client_with(scope: str) -> Door:
    """A client that is an API key with the scope. Raises InvalidRequest, InvalidClient and InsufficientScope."""

    def door(work: UnitOfWork) -> Principal:
        principal = authenticate(work, get_client_info(), shown_key())
        need(principal, scope)
        return principal

    return door
