"""The door of routes that ask for a client instead of a bearer of a credential."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.oauth.clients import authenticate_client
from app.web.auth.credentials import Door, require_scope
from app.web.client_info import get_client_info
from app.web.oauth.forms import parse_client_or_key

if TYPE_CHECKING:
    from app.principal import Principal
    from app.unit_of_work import UnitOfWork


def require_client_with_scope(scope: str) -> Door:
    """A client that is an API key with the scope. Raises InvalidRequest, InvalidClient and InsufficientScope."""

    def door(work: UnitOfWork) -> Principal:
        principal = authenticate_client(work, get_client_info(), parse_client_or_key())
        require_scope(principal, scope)
        return principal

    return door
