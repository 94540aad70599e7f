"""The only reader of the system clock and of environment variables."""

from __future__ import annotations

import os
from datetime import UTC, datetime


def get_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def get_variable(name: str) -> str:
    """Return the environment variable, or an empty string if it is not set."""
    return os.environ.get(name, "")
