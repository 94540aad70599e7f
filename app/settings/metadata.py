"""Metadata of a setting: its description, parser and how its default is printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.settings import parsers

DAY = 86400  # seconds
REQUIRED = "required"


def describe(
    description: str, parse: Callable[[str], Any], *, default: str = "", secret: bool = False
) -> dict[str, object]:
    """Build the metadata of a field. `default` is the text for a default that is derived."""
    return {"description": description, "parse": parse, "default": default, "secret": secret}


def describe_limit(description: str) -> dict[str, object]:
    return describe(description, parsers.parse_limit)
