"""Accounts to import, as parsed from the objects of a file.

All fields are checked before anything is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from app.accounts import names, profile_rules
from app.accounts.open_account import DEFAULT_LOCALE, DEFAULT_TIMEZONE, NewAccount
from app.adapters.imported_hashes import UnusablePasswordHash

T = TypeVar("T")

MAX_HASH_LENGTH = 256
REQUIRED = ("username", "email", "password_hash")
FIELDS = (*REQUIRED, "name", "locale", "timezone", "metadata", "must_change_password", "created_at")
WHOLE_LINE = "line"  # the field of a fault that concerns no single field
# RFC 3339 section 5.6, limited to years in which an account can have been created.
TIMESTAMP_PATTERN = (
    r"(?:19[7-9][0-9]|20[0-9]{2})-[0-9]{2}-[0-9]{2}"
    r"[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
SAFE_FIELD_NAME = re.compile(r"[a-z][a-z_]{0,23}")


@dataclass(frozen=True, slots=True)
class ImportFault:
    """Why a line is rejected: a reason shared by many lines, and the detail of this one.

    Never the value itself.
    """

    field: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class RejectedLine:
    """A line that cannot be imported, with every reason."""

    line: int
    faults: tuple[ImportFault, ...]


@dataclass(frozen=True, slots=True)
class ImportCandidate:
    """A line whose fields are all valid."""

    line: int
    account: NewAccount


class WrongFieldType(ValueError):
    """The value has another type than the field; the message says which type is needed."""


class FieldReader:
    """Reads the fields of one object and collects their faults."""

    def __init__(self, body: Mapping[str, object]) -> None:
        self._body = body
        self.faults = [_build_unknown_field_fault(name) for name in body if name not in FIELDS]

    def read(self, field: str, rule: Callable[[object], T], default: T) -> T:
        """Return the parsed field, or the default if it is missing, null or invalid."""
        value = self._body.get(field)
        if value is None:
            if field in REQUIRED:
                self.faults.append(ImportFault(field, "is required"))
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
    """Parse the account that an object describes, or return all its faults.

    `convert_hash` turns a password hash into the form that is stored.
    """
    fields = FieldReader(body)
    username = fields.read("username", lambda value: names.parse_username(_require_text(value)), "")
    email, email_canonical = fields.read(
        "email", lambda value: names.parse_email(_require_text(value)), ("", "")
    )
    must_change_password = fields.read("must_change_password", _require_boolean, False)
    account = NewAccount(
        username=username,
        email=email,
        email_canonical=email_canonical,
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
            "password_hash", lambda value: _convert_hash(value, convert_hash), ""
        ),
        must_change_since=now if must_change_password else None,
        created_at=fields.read(
            "created_at", lambda value: _parse_timestamp(_require_text(value), now), now
        ),
    )
    return (
        RejectedLine(line, tuple(fields.faults))
        if fields.faults
        else ImportCandidate(line, account)
    )


def _build_unknown_field_fault(name: str) -> ImportFault:
    # An arbitrary name is not shown: it may be a password in the wrong place.
    detail = f": {name}" if SAFE_FIELD_NAME.fullmatch(name) else ""
    return ImportFault(WHOLE_LINE, "has an unknown field", detail)


def _require_text(value: object) -> str:
    if not isinstance(value, str):
        raise WrongFieldType("must be a string")
    return value


def _require_object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise WrongFieldType("must be an object")
    return value


def _require_boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise WrongFieldType("must be true or false")
    return value


def _convert_hash(value: object, convert: Callable[[str], str]) -> str:
    return _require_short_hash(convert(_require_short_hash(_require_text(value))))


def _require_short_hash(password_hash: str) -> str:
    if len(password_hash) > MAX_HASH_LENGTH:
        raise UnusablePasswordHash(f"must have at most {MAX_HASH_LENGTH} characters")
    return password_hash


def _parse_timestamp(raw: str, now: datetime) -> datetime:
    if not re.fullmatch(TIMESTAMP_PATTERN, raw):
        raise WrongFieldType("must be a time like 2024-05-17T08:30:00Z")
    try:
        moment = datetime.fromisoformat(raw.upper()).astimezone(UTC)
    except ValueError:
        raise WrongFieldType("must be a time like 2024-05-17T08:30:00Z") from None
    if moment > now:
        raise WrongFieldType("must not be in the future")
    return moment
