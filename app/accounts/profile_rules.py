"""Rules for the fields of a profile."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from zoneinfo import available_timezones

MAX_NAME_LENGTH = 128
MAX_METADATA_BYTES = 4096  # bytes of JSON
LANGUAGE_TAG = r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}"
# Control characters, invisible characters and line separators.
FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

list_time_zones = cache(available_timezones)


class InvalidProfileValue(ValueError):
    """The value is not valid in a profile. The message tells users why."""


def parse_name(raw: str) -> str:
    """Return a display name without surrounding whitespace. Raises InvalidProfileValue."""
    if any(unicodedata.category(character) in FORBIDDEN_CATEGORIES for character in raw):
        raise InvalidProfileValue("must not contain control characters")
    if not raw.strip():
        raise InvalidProfileValue("must not be blank")
    if len(raw) > MAX_NAME_LENGTH:
        raise InvalidProfileValue(f"must have 1 to {MAX_NAME_LENGTH} characters")
    return raw.strip()


def parse_locale(raw: str) -> str:
    """Return a language tag (the subset of RFC 5646 that selects texts).

    Raises InvalidProfileValue.
    """
    if not re.fullmatch(LANGUAGE_TAG, raw):
        raise InvalidProfileValue("must be a language tag like en or de-AT")
    return raw


def parse_timezone(raw: str) -> str:
    """Return the name of an IANA time zone. Raises InvalidProfileValue."""
    if raw not in list_time_zones():
        raise InvalidProfileValue("is not a time zone; use a name like Europe/Vienna")
    return raw


def parse_metadata(raw: Mapping[str, object]) -> dict[str, object]:
    """Return metadata of a limited size. Raises InvalidProfileValue."""
    if len(json.dumps(raw, ensure_ascii=False).encode()) > MAX_METADATA_BYTES:
        raise InvalidProfileValue(f"must not be larger than {MAX_METADATA_BYTES} bytes of JSON")
    return dict(raw)
