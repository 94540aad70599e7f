"""The public clients: programs that have a name and no secret (RFC 6749 section 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.settings.json_parsers import ConfiguredClient

if TYPE_CHECKING:
    from app.settings import Settings

DEFAULT = "doorward"  # the client_id of whoever names none
UNNAMED = ConfiguredClient(DEFAULT)


def public_client(settings: Settings, client_id: str | None) -> ConfiguredClient | None:
    """The client of that id, by the setting CLIENTS; None where there is none."""
    wanted = client_id or DEFAULT
    return settings.clients.get(wanted, UNNAMED if wanted == DEFAULT else None)
