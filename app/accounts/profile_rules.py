"""What an account may tell of itself."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from functools import cache
from zoneinfo import available_timezones

LONGEST_NAME = 128
LARGEST_METADATA = 4096  # bytes of JSON
LANGUAGE_TAG = r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}"
# Controls, what cannot be seen, and what breaks a line.
NOT_ON_ONE_LINE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

time_zones = cache(available_timezones)


class NotForAProfile(ValueError):
    """The value cannot stand in a profile; the message says why, in words for people."""


def new_name(raw: str) -> str:
    """How a person is called. Raises NotForAProfile."""
    if any(unicodedata.category(character) in NOT_ON_ONE_LINE for character in raw):
        raise NotForAProfile("must not hold control characters")
    if not raw.strip():
        raise NotForAProfile("must not be blank")
    if len(raw) > LONGEST_NAME:
        raise NotForAProfile(f"must have 1 to {LONGEST_NAME} characters")
    return raw.strip()


def new_locale(raw: str) -> str:
    """A language tag (RFC 5646), as far as one is needed to choose texts. Raises NotForAProfile."""
    if not re.fullmatch(LANGUAGE_TAG, raw):
        raise NotForAProfile("must be a language tag like en or de-AT")
    return raw


def new_timezone(raw: str) -> str:
    """A name of the IANA time zone database. Raises NotForAProfile."""
    if raw not in time_zones():
        raise NotForAProfile("is no time zone; use a name like Europe/Vienna")
    return raw


def new_metadata(raw: Mapping[str, object]) -> dict[str, object]:
    """Anything of the owner's, as long as it is small. Raises NotForAProfile."""
    if len(json.dumps(raw, ensure_ascii=False).encode()) > LARGEST_METADATA:
        raise NotForAProfile(f"must not be larger than {LARGEST_METADATA} bytes of JSON")
    return dict(raw)
