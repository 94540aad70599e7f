"""A password that nobody thought of."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from doorward.secret import Secret

if TYPE_CHECKING:
    from doorward.client import Doorward

LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # no l, o, 0 and 1, which are taken for each other
GROUPS, SIZE = 5, 5  # 125 bits


def generated(least: int) -> Secret:
    """Groups of letters and digits, to be read and typed; at least so many characters."""
    groups = max(GROUPS, -(-(least + 1) // (SIZE + 1)))
    return Secret(
        "-".join("".join(secrets.choice(LETTERS) for _ in range(SIZE)) for _ in range(groups))
    )


def least_of(client: Doorward) -> int:
    """How many characters the service wants of a password; 0 where it does not say."""
    policies = client.transport.ask("GET", "/v1/methods").get("policies")
    least = policies.get("password_min_length") if isinstance(policies, dict) else None
    return min(least, 1024) if isinstance(least, int) else 0
