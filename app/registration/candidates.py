"""An account that another system had, as one object of a file describes it: every field is judged before anything is kept."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from app.accounts import names, profile_rules
from app.adapters.foreign_hashes import NotAHash

T = TypeVar("T")

LOCALE = "en"
TIMEZONE = "UTC"
LONGEST_HASH = 256
REQUIRED = ("username", "email", "password_hash")
FIELDS = (*REQUIRED, "name", "locale", "timezone", "metadata", "must_change_password", "created_at")
WHOLE = "line"  # what is at fault when no field is
# RFC 3339 section 5.6, of the years in which somebody can have got an account.
MOMENT = r"(?:19[7-9][0-9]|20[0-9]{2})-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
SHOWABLE = re.compile(r"[a-z][a-z_]{0,23}")


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a line is refused: the same reason for many lines, and what is so of this one alone. Never what stood there."""

    field: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A line from which no account is made."""

    line: int
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Candidate:
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


class NotOfThisKind(ValueError):
    """The value is of another type than the field; the message says which."""


class Reader:
    """Reads the fields of one object and remembers what was wrong with them."""

    def __init__(self, body: Mapping[str, object]) -> None:
        self._body = body
        self.faults = [_unknown(name) for name in body if name not in FIELDS]

    def read(self, field: str, rule: Callable[[object], T], default: T) -> T:
        """The field by its rule; the default where it is left out, null or at fault."""
        value = self._body.get(field)
        if value is None:
            if field in REQUIRED:
                self.faults.append(Fault(field, "is needed"))
            return default
        try:
            return rule(value)
        except (NotOfThisKind, names.NotAName, profile_rules.NotForAProfile, NotAHash) as error:
            self.faults.append(Fault(field, str(error)))
            return default


def read_candidate(
    line: int, body: Mapping[str, object], *, now: datetime, kept: Callable[[str], str]
) -> Candidate | Refused:
    """The account that an object describes, or all that is wrong with it. `kept` turns a hash into the one to keep."""
    fields = Reader(body)
    username = fields.read("username", lambda value: names.new_username(_text(value)), "")
    email, canonical = fields.read("email", lambda value: names.new_address(_text(value)), ("", ""))
    candidate = Candidate(
        line=line,
        username=username,
        email=email,
        email_canonical=canonical,
        name=fields.read("name", lambda value: profile_rules.new_name(_text(value)), username),
        locale=fields.read("locale", lambda value: profile_rules.new_locale(_text(value)), LOCALE),
        timezone=fields.read(
            "timezone", lambda value: profile_rules.new_timezone(_text(value)), TIMEZONE
        ),
        metadata=fields.read(
            "metadata", lambda value: profile_rules.new_metadata(_object(value)), {}
        ),
        password_hash=fields.read(
            "password_hash", lambda value: _short(kept(_short(_text(value)))), ""
        ),
        must_change_password=fields.read("must_change_password", _truth, False),
        created_at=fields.read("created_at", lambda value: _moment(_text(value), now), now),
    )
    return Refused(line, tuple(fields.faults)) if fields.faults else candidate


def _unknown(name: str) -> Fault:
    """A name that could be anything is not shown: it might be a password in the wrong place."""
    return Fault(
        WHOLE, "has a field that is not known", f": {name}" if SHOWABLE.fullmatch(name) else ""
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise NotOfThisKind("must be a text")
    return value


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise NotOfThisKind("must be an object")
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise NotOfThisKind("must be true or false")
    return value


def _short(password_hash: str) -> str:
    if len(password_hash) > LONGEST_HASH:
        raise NotAHash(f"is longer than {LONGEST_HASH} characters")
    return password_hash


def _moment(raw: str, now: datetime) -> datetime:
    try:
        moment = (
            datetime.fromisoformat(raw.upper()).astimezone(UTC)
            if re.fullmatch(MOMENT, raw)
            else None
        )
    except ValueError:
        moment = None
    if moment is None:
        raise NotOfThisKind("must be a time like 2024-05-17T08:30:00Z")
    if moment > now:
        raise NotOfThisKind("lies in the future")
    return moment
