"""Settings as text: the reference of all settings, and the current values with secrets masked."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from app.settings.environment import ENV_PREFIX
from app.settings.model import Settings

MASK = "***"


def render_reference() -> str:
    """Render every setting with its description and default. config/example.env has this text."""
    lines = []
    for field in dataclasses.fields(Settings):
        lines += [
            f"# {field.metadata['description']}",
            f"# Default: {_render_default(field)}",
            f"{ENV_PREFIX}{field.name.upper()}=",
            "",
        ]
    return "\n".join(lines)


def render_settings(settings: Settings) -> str:
    """Render the current settings, one per line, with secrets masked."""
    return "\n".join(
        f"{ENV_PREFIX}{field.name.upper()}={_render_masked(field, getattr(settings, field.name))}"
        for field in dataclasses.fields(settings)
    )


def _render_default(field: dataclasses.Field[Any]) -> str:
    if field.metadata["default"]:
        return str(field.metadata["default"])
    if field.default is dataclasses.MISSING:
        return "{}"
    return _render_value(field.default) or "none"


def _render_masked(field: dataclasses.Field[Any], value: Any) -> str:
    if value is None or not field.metadata["secret"]:
        return _render_value(value)
    if not isinstance(value, str):
        return MASK
    # A password can be in front of the host or in the query. The path of a SQLite file has none.
    return re.sub(
        r"://.*@|\?.*", lambda match: f"?{MASK}" if match[0][0] == "?" else f"://{MASK}@", value
    )


def _render_value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, timedelta):
        return str(int(value.total_seconds()))
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    if isinstance(value, Mapping | bool):
        return json.dumps(value, default=dataclasses.asdict)
    return str(value)
