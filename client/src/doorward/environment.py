"""The clock and the environment of whoever runs this; both are read when they are needed and never kept."""

from __future__ import annotations

import os
from datetime import UTC, datetime


def get_now() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


def get_variable(name: str) -> str:
    """A variable of the environment as it is now, empty where it is not set."""
    return os.environ.get(name, "")
