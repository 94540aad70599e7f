"""Formats data as JSON and YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime

BARE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Keys that some YAML parsers do not read as strings.
YAML_RESERVED = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
FORMS = ("table", "json", "yaml")
MAX_BASIC_PLANE = 0xFFFF


def to_plain_data(value: object) -> object:
    """Convert dataclasses to objects, tuples to lists, and times to UTC in RFC 3339.

    Secrets stay hidden.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain_data(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_plain_data(one) for name, one in value.items()}
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, list | tuple):
        return [to_plain_data(one) for one in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def to_fields(value: object) -> dict[str, object]:
    """Return the fields of a dataclass as plain data."""
    data = to_plain_data(value)
    return data if isinstance(data, dict) else {}


def format_data(data: object, form: str, format_table: Callable[[], str]) -> str:
    """Format the data as json or yaml, else with `format_table`."""
    if form == "json":
        return json.dumps(to_plain_data(data), indent=2)
    if form == "yaml":
        return "\n".join(_format_yaml(to_plain_data(data)))
    return format_table()


def _format_yaml(value: object) -> list[str]:
    """Return the lines of YAML.

    Strings are in ASCII and double quotes, so that none is read as a number, date or boolean.
    """
    if isinstance(value, dict) and value:
        return [line for name, one in value.items() for line in _format_entry(name, one)]
    if isinstance(value, list) and value:
        return [line for one in value for line in _format_item(one)]
    return [_format_scalar(value)]


def _format_entry(name: str, value: object) -> list[str]:
    is_bare = BARE_KEY.fullmatch(name) and name.lower() not in YAML_RESERVED
    key = f"{name if is_bare else _format_scalar(name)}:"
    if isinstance(value, dict | list) and value:
        return [key, *(f"  {line}" for line in _format_yaml(value))]
    return [f"{key} {_format_scalar(value)}"]


def _format_item(value: object) -> list[str]:
    first, *rest = _format_yaml(value)
    return [f"- {first}", *(f"  {line}" for line in rest)]


def _format_scalar(value: object) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    return f'"{"".join(_escape(character) for character in value)}"'


def _escape(character: str) -> str:
    """Escape a character. YAML does not join the surrogate pairs that JSON uses above U+FFFF."""
    number = ord(character)
    return f"\\U{number:08X}" if number > MAX_BASIC_PLANE else json.dumps(character)[1:-1]
