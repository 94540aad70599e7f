"""An account that another system had, as one object of a file describes it: every field is judged before anything is kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from app.accounts import names, profile_rules
from app.adapters.imported_hashes import UnusablePasswordHash

T = TypeVar("T")

DEFAULT_LOCALE = "en"
DEFAULT_TIMEZONE = "UTC"
MAX_HASH_LENGTH = 256
REQUIRED = ("username", "email", "password_hash")
FIELDS = (*REQUIRED, "name", "locale", "timezone", "metadata", "must_change_password", "created_at")
WHOLE_LINE = "line"  # what is at fault when no field is
# RFC 3339 section 5.6, of the years in which somebody can have got an account.
TIMESTAMP_PATTERN = r"(?:19[7-9][0-9]|20[0-9]{2})-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
SAFE_FIELD_NAME = re.compile(r"[a-z][a-z_]{0,23}")


@dataclass(frozen=True, slots=True)
class ImportFault:
    """Why a line is refused: the same reason for many lines, and what is so of this one alone. Never what stood there."""

    field: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line from which no account is made."""

    line: int
    faults: tuple[ImportFault, ...]


@dataclass(frozen=True, slots=True)
class ImportCandidate:
    """An account to be, all of whose fields are acceptable by themselves."""

    line: int
    username: str
    email: str
    email_canonical: str
    name: str
    locale: str
    timezone: str
    metadata: Mapping[str, object]
    password_hash: str
    must_change_password: bool
    created_at: datetime


class WrongFieldType(ValueError):
    """The value is of another type than the field; the message says which."""


class FieldReader:
    """Reads the fields of one object and remembers what was wrong with them."""

    def __init__(self, body: Mapping[str, object]) -> None:
        self._body = body
        self.faults = [_build_unknown_field_fault(name) for name in body if name not in FIELDS]

    def read(self, field: str, rule: Callable[[object], T], default: T) -> T:
        """The field by its rule; the default where it is left out, null or at fault."""
        value = self._body.get(field)
        if value is None:
            if field in REQUIRED:
                self.faults.append(ImportFault(field, "is needed"))
            return default
        try:
            return rule(value)
        except (
            WrongFieldType,
            names.InvalidName,
            profile_rules.InvalidProfileValue,
            UnusablePasswordHash,
        ) as error:
            self.faults.append(ImportFault(field, str(error)))
            return default


def parse_candidate(
    line: int, body: Mapping[str, object], *, now: datetime, convert_hash: Callable[[str], str]
) -> ImportCandidate | RejectedLine:
    """The account that an object describes, or all that is wrong with it. `kept` turns a hash into the one to keep."""
    fields = FieldReader(body)
    username = fields.read("username", lambda value: names.parse_username(_require_text(value)), "")
    email, canonical = fields.read(
        "email", lambda value: names.parse_email(_require_text(value)), ("", "")
    )
    candidate = ImportCandidate(
        line=line,
        username=username,
        email=email,
        email_canonical=canonical,
        name=fields.read(
            "name", lambda value: profile_rules.parse_name(_require_text(value)), username
        ),
        locale=fields.read(
            "locale", lambda value: profile_rules.parse_locale(_require_text(value)), DEFAULT_LOCALE
        ),
        timezone=fields.read(
            "timezone",
            lambda value: profile_rules.parse_timezone(_require_text(value)),
            DEFAULT_TIMEZONE,
        ),
        metadata=fields.read(
            "metadata", lambda value: profile_rules.parse_metadata(_require_object(value)), {}
        ),
        password_hash=fields.read(
            "password_hash",
            lambda value: _require_short_hash(
                convert_hash(_require_short_hash(_require_text(value)))
            ),
            "",
        ),
        must_change_password=fields.read("must_change_password", _require_boolean, False),
        created_at=fields.read(
            "created_at", lambda value: _parse_timestamp(_require_text(value), now), now
        ),
    )
    return RejectedLine(line, tuple(fields.faults)) if fields.faults else candidate


def _build_unknown_field_fault(name: str) -> ImportFault:
    """A name that could be anything is not shown: it might be a password in the wrong place."""
    return ImportFault(
        WHOLE_LINE,
        "has a field that is not known",
        f": {name}" if SAFE_FIELD_NAME.fullmatch(name) else "",
    )


def _require_text(value: object) -> str:
    if not isinstance(value, str):
        raise WrongFieldType("must be a text")
    return value


def _require_object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise WrongFieldType("must be an object")
    return value


def _require_boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise WrongFieldType("must be true or false")
    return value


def _require_short_hash(password_hash: str) -> str:
    if len(password_hash) > MAX_HASH_LENGTH:
        raise UnusablePasswordHash(f"is longer than {MAX_HASH_LENGTH} characters")
    return password_hash


def _parse_timestamp(raw: str, now: datetime) -> datetime:
    try:
        moment = (
            datetime.fromisoformat(raw.upper()).astimezone(UTC)
            if re.fullmatch(TIMESTAMP_PATTERN, raw)
            else None
        )
    except ValueError:
        moment = None
    if moment is None:
        raise WrongFieldType("must be a time like 2024-05-17T08:30:00Z")
    if moment > now:
        raise WrongFieldType("lies in the future")
    return moment
