"""Asking to be let in, as OAuth clients do it (RFC 8628 section 3.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.device_login.start import DeviceAuthorization, DeviceLoginRequest, start_device_login
from app.oauth.clients import ClientCredentials, is_public_client
from app.oauth.errors import InvalidClient
from app.oauth.tokens import parse_scopes

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork


def start_device_authorization(
    work: UnitOfWork, client_info: ClientInfo, *, client: ClientCredentials, scope: str | None
) -> DeviceAuthorization:
    """Codes for a public client. Raises InvalidClient, InvalidScope, TooManyRequests or Busy."""
    if not is_public_client(work.settings, client):
        raise InvalidClient(
            "Only a public client asks to be let in: doorward, or one of DOORWARD_CLIENTS, without a secret."
        )
    parse_scopes(scope)
    return start_device_login(work, client_info, DeviceLoginRequest(client.id, scope))
