"""The public clients: programs that have a name and no secret (RFC 6749 section 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.settings import ConfiguredClient

if TYPE_CHECKING:
    from app.settings import Settings

DEFAULT_CLIENT_ID = "doorward"  # the client_id of whoever names none
DEFAULT_CLIENT = ConfiguredClient(DEFAULT_CLIENT_ID)


def find_public_client(settings: Settings, client_id: str | None) -> ConfiguredClient | None:
    """The client of that id, by the setting CLIENTS; None where there is none."""
    wanted = client_id or DEFAULT_CLIENT_ID
    return settings.clients.get(wanted, DEFAULT_CLIENT if wanted == DEFAULT_CLIENT_ID else None)
