"""Public clients: programs with a client_id and no secret (RFC 6749 section 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.settings import ConfiguredClient

if TYPE_CHECKING:
    from app.settings import Settings

DEFAULT_CLIENT_ID = "doorward"  # of requests without a client_id
DEFAULT_CLIENT = ConfiguredClient(DEFAULT_CLIENT_ID)


def find_public_client(settings: Settings, client_id: str | None) -> ConfiguredClient | None:
    """Find a client in the setting CLIENTS, the default client where `client_id` is None."""
    wanted = client_id or DEFAULT_CLIENT_ID
    return settings.clients.get(wanted, DEFAULT_CLIENT if wanted == DEFAULT_CLIENT_ID else None)
