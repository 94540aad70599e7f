"""Usernames and email addresses in canonical form (RFC 8264).

The order of the steps matters: raw length, forbidden characters, NFKC, casefold, NFKC again,
because casefold is not stable under NFKC for 26 code points, and the grammar last. Services that
check before they normalize have confused one name with another.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from email_validator import EmailNotValidError, ValidatedEmail, validate_email

MAX_RAW_BYTES = 256
MAX_LOCAL_PART_LENGTH = 64
MAX_EMAIL_LENGTH = 254  # bytes
USERNAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{2,31}")
RESERVED_USERNAMES = frozenset(
    """
    abuse admin administrator anonymous api auth doorward guest help hostmaster info login
    logout mail me moderator nobody none noreply no-reply null owner postmaster register root
    security self staff support system undefined webmaster
    """.split()
)
# Control, format (with bidi controls), surrogate, private use and unassigned characters.
FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
# Letters and marks that are Default_Ignorable (Unicode DerivedCoreProperties).
IGNORABLE_CHARACTERS = frozenset(
    map(
        chr,
        [
            0x34F,
            0x115F,
            0x1160,
            0x17B4,
            0x17B5,
            0x180B,
            0x180C,
            0x180D,
            0x180F,
            0x3164,
            0xFFA0,
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ],
    )
)


class InvalidName(ValueError):
    """The text is not a valid username or email address. The message tells users why."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A username or email address that was entered to find an account, in canonical form."""

    canonical: str
    is_email: bool
    is_valid: bool  # False if no account can have this name


def parse_identifier(text: str) -> Identifier:
    """Parse an entered username or email address.

    Invalid text becomes an identifier that matches no account, so that throttling counts it like
    any other unknown name.
    """
    try:
        name = fold_name(text)
        return (
            Identifier(canonicalize_email(name), True, True)
            if "@" in name
            else Identifier(name, False, True)
        )
    except InvalidName:
        return Identifier(text, "@" in text, False)


def fold_name(raw: str) -> str:
    """Return the canonical spelling of a name. Raises InvalidName."""
    if (
        not raw
        or len(raw) > MAX_RAW_BYTES
        or len(raw.encode("utf-8", "surrogatepass")) > MAX_RAW_BYTES
    ):
        raise InvalidName("must have 1 to 256 bytes")
    if any(
        unicodedata.category(character) in FORBIDDEN_CATEGORIES or character in IGNORABLE_CHARACTERS
        for character in raw
    ):
        raise InvalidName("contains an invisible character")
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", raw).casefold())


def parse_username(raw: str) -> str:
    """Return the canonical form of a new username. Raises InvalidName."""
    name = parse_operator_username(raw)
    if name in RESERVED_USERNAMES:
        raise InvalidName("is reserved")
    return name


def parse_operator_username(raw: str) -> str:
    """Return the canonical form of a username chosen by the operator. Only upper case is folded.

    Reserved names are allowed: they are reserved because users would take their owner for the
    operator. Raises InvalidName.
    """
    name = fold_name(raw)
    if name != raw.lower() or not raw.isascii() or not USERNAME_PATTERN.fullmatch(name):
        raise InvalidName(
            "must have 3 to 32 characters from a-z, 0-9, dot, hyphen and underscore, "
            "and begin with a letter or digit"
        )
    return name


def parse_email(raw: str) -> tuple[str, str]:
    """Return a new email address as emails are sent to it, and its canonical form.

    Raises InvalidName.
    """
    plain = fold_name(raw) == raw.lower()
    parts = _validate_email(raw)
    # IDNA folds more than `fold_name`, such as the ideographic full stop (UTS #46).
    if not plain or raw.lower().rpartition("@")[2] not in {parts.domain, parts.ascii_domain}:
        raise InvalidName("contains characters that look like others; use plain ones")
    return (
        f"{parts.local_part}@{parts.ascii_domain}",
        f"{parts.local_part.lower()}@{parts.ascii_domain}",
    )


def canonicalize_email(raw: str) -> str:
    """Return the canonical form of an email address entered to find an account.

    Raises InvalidName.
    """
    parts = _validate_email(fold_name(raw))
    return f"{parts.local_part.lower()}@{parts.ascii_domain}"


def _validate_email(raw: str) -> ValidatedEmail:
    """Keep dots and plus signs: removing them would give one user the address of another."""
    try:
        parts = validate_email(
            raw, check_deliverability=False, globally_deliverable=False, allow_smtputf8=False
        )
    except EmailNotValidError:
        raise InvalidName("is not a valid email address") from None
    top = parts.ascii_domain.rpartition(".")[2]
    if top == parts.ascii_domain or top.isdigit():
        raise InvalidName("must have a domain like example.org")
    if (
        len(parts.local_part) > MAX_LOCAL_PART_LENGTH
        or len(parts.local_part) + 1 + len(parts.ascii_domain) > MAX_EMAIL_LENGTH
    ):
        raise InvalidName("is too long")
    return parts
