"""Parsers for the settings that describe roles, gateway policies, clients and membership levels."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from app.settings.parsers import split_list

T = TypeVar("T")

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,31}")
# RFC 6749 section 3.3 allows more characters; these need no quoting in headers, URLs and JSON.
SCOPE_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(:[A-Za-z0-9._-]+)*(:\*)?")
MAX_SCOPE_LENGTH = 64
MAX_CLIENT_NAME_LENGTH = 64
MIN_LEVELS = 2


@dataclass(frozen=True, slots=True)
class GatewayPolicy:
    """Conditions for a gateway request: all of `scopes` and one of `roles`.

    `audience` is the `aud` of the identity token that the gateway gets.
    """

    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    audience: str = ""


@dataclass(frozen=True, slots=True)
class ConfiguredClient:
    """A client that can start a device login. `scopes` limits what it gets; None is no limit."""

    name: str
    scopes: tuple[str, ...] | None = None


def is_scope(text: str) -> bool:
    return len(text) <= MAX_SCOPE_LENGTH and SCOPE_PATTERN.fullmatch(text) is not None


def parse_roles(text: str) -> dict[str, tuple[str, ...]]:
    """Parse `{"role": ["scope", …]}`."""
    return _parse_object(text, _parse_scopes)


def parse_policies(text: str) -> dict[str, GatewayPolicy]:
    """Parse `{"policy": {"scopes": […], "roles": […], "audience": "…"}}`, all parts optional."""
    return _parse_object(text, _parse_policy)


def parse_clients(text: str) -> dict[str, ConfiguredClient]:
    """Parse `{"client_id": {"name": "…", "scopes": […]}}`; both parts are optional."""
    values = _parse_object(text, lambda value: value)
    return {client_id: _parse_client(client_id, value) for client_id, value in values.items()}


def parse_levels(text: str) -> tuple[str, ...]:
    """Parse membership levels, the lowest first."""
    levels = split_list(text)
    if (
        len(levels) < MIN_LEVELS
        or len(set(levels)) != len(levels)
        or not all(NAME_PATTERN.fullmatch(level) and "-" not in level for level in levels)
    ):
        raise ValueError(
            "must be two or more different levels of a-z and 0-9, the lowest first, "
            "separated by commas"
        )
    return levels


def _parse_object(text: str, parse: Callable[[object], T]) -> dict[str, T]:
    try:
        value = json.loads(text)
    except ValueError:
        raise ValueError("must be a JSON object") from None
    if not isinstance(value, dict) or not all(NAME_PATTERN.fullmatch(name) for name in value):
        raise ValueError(
            "must be a JSON object whose names have 1 to 32 of the characters a-z, 0-9, dot, dash "
            "and underscore"
        )
    return {name: parse(item) for name, item in value.items()}


def _parse_scopes(value: object) -> tuple[str, ...]:
    scopes = _parse_strings(value)
    if not all(is_scope(scope) for scope in scopes):
        raise ValueError(
            "must contain scopes like orders:read, with at most 64 letters, digits, dots, dashes "
            "and colons"
        )
    return scopes


def _parse_strings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("must contain lists of strings")
    return tuple(value)


def _parse_policy(value: object) -> GatewayPolicy:
    if not isinstance(value, Mapping) or not set(value) <= {"scopes", "roles", "audience"}:
        raise ValueError("must contain objects with scopes, roles and audience")
    audience = value.get("audience", "")
    if not isinstance(audience, str):
        raise ValueError("must contain audiences that are strings")  # noqa: TRY004 - settings raise ValueError
    return GatewayPolicy(
        _parse_scopes(value.get("scopes", [])), _parse_strings(value.get("roles", [])), audience
    )


def _parse_client(client_id: str, value: object) -> ConfiguredClient:
    if not isinstance(value, Mapping) or not set(value) <= {"name", "scopes"}:
        raise ValueError("must contain objects with name and scopes")
    name = value.get("name", client_id)
    if (
        not isinstance(name, str)
        or not name.isprintable()
        or not 1 <= len(name) <= MAX_CLIENT_NAME_LENGTH
    ):
        raise ValueError(
            f"must contain names of 1 to {MAX_CLIENT_NAME_LENGTH} printable characters"
        )
    return ConfiguredClient(name, _parse_scopes(value["scopes"]) if "scopes" in value else None)
