"""Headers that the tests send to a gateway, and those that the application receives."""

from __future__ import annotations

from app.verification.identity_headers import IDENTITY_HEADERS
from tests.gateways.application import Received


def build_bearer(token: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {token}")]


def read_identity(received: Received) -> dict[str, str]:
    """Return each identity header as applications read it, or an empty text if it is missing."""
    found = {name: received.read_as(name) for name in IDENTITY_HEADERS}
    assert all(len(values) <= 1 for values in found.values()), found
    return {name: values[0] if values else "" for name, values in found.items()}
