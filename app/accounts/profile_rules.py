"""What an account may tell of itself."""

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
# Controls, what cannot be seen, and what breaks a line.
FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

list_time_zones = cache(available_timezones)


class InvalidProfileValue(ValueError):
    """The value cannot stand in a profile; the message says why, in words for people."""


def parse_name(raw: str) -> str:
    """How a person is called. Raises NotForAProfile."""
    if any(unicodedata.category(character) in FORBIDDEN_CATEGORIES for character in raw):
        raise InvalidProfileValue("must not hold control characters")
    if not raw.strip():
        raise InvalidProfileValue("must not be blank")
    if len(raw) > MAX_NAME_LENGTH:
        raise InvalidProfileValue(f"must have 1 to {MAX_NAME_LENGTH} characters")
    return raw.strip()


def parse_locale(raw: str) -> str:
    """A language tag (RFC 5646), as far as one is needed to choose texts. Raises NotForAProfile."""
    if not re.fullmatch(LANGUAGE_TAG, raw):
        raise InvalidProfileValue("must be a language tag like en or de-AT")
    return raw


def parse_timezone(raw: str) -> str:
    """A name of the IANA time zone database. Raises NotForAProfile."""
    if raw not in list_time_zones():
        raise InvalidProfileValue("is no time zone; use a name like Europe/Vienna")
    return raw


def parse_metadata(raw: Mapping[str, object]) -> dict[str, object]:
    """Anything of the owner's, as long as it is small. Raises NotForAProfile."""
    if len(json.dumps(raw, ensure_ascii=False).encode()) > MAX_METADATA_BYTES:
        raise InvalidProfileValue(f"must not be larger than {MAX_METADATA_BYTES} bytes of JSON")
    return dict(raw)
