"""Usernames and addresses in their one canonical form (RFC 8264's caution, in the order that closes
the known holes).

Raw length, then forbidden characters, then NFKC, casefold, NFKC again (casefold is not stable under
NFKC for 26 code points), and the grammar last: checking before normalising is how other services
took one name for another.
"""

from __future__ import annotations

import re
import unicodedata

from email_validator import EmailNotValidError, ValidatedEmail, validate_email

MAX_RAW_BYTES = 256  # bytes
MAX_LOCAL_PART_LENGTH = 64
MAX_EMAIL_LENGTH = 254  # bytes
USERNAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{2,31}")
RESERVED_USERNAMES = frozenset(
    """
    abuse admin administrator anonymous api auth doorward guest help hostmaster info login logout mail me moderator nobody none
    noreply no-reply null owner postmaster register root security self staff support system undefined webmaster
    """.split()
)
# Cc controls, Cf format (bidi controls and most of Default_Ignorable), Cs surrogates, Co private
# use, Cn unassigned.
FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
# The Default_Ignorable code points that are letters or marks by category (Unicode
# DerivedCoreProperties).
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
    """The text cannot be a username or an address; the message says why, in words for people."""


def fold_name(raw: str) -> str:
    """The canonical spelling of a text, whatever it is the name of. Raises NotAName."""
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
        raise InvalidName("holds a character that cannot be seen")
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", raw).casefold())


def parse_username(raw: str) -> str:
    """The canonical form of a username somebody wants. Raises NotAName."""
    name = parse_operator_username(raw)
    if name in RESERVED_USERNAMES:
        raise InvalidName("is reserved")
    return name


def parse_operator_username(raw: str) -> str:
    """The canonical form of a username that the operator wants.

    Nothing but upper case is folded here. Raises NotAName.

    Reserved names are kept from strangers, who would be taken for the operator; the operator may be
    called `admin`.
    """
    name = fold_name(raw)
    if name != raw.lower() or not raw.isascii() or not USERNAME_PATTERN.fullmatch(name):
        raise InvalidName(
            "must have 3 to 32 of the characters a-z, 0-9, dot, dash and underscore, and begin with a letter or digit"
        )
    return name


def parse_email(raw: str) -> tuple[str, str]:
    """An address somebody wants, as mail is sent to it, and its canonical form. Raises NotAName."""
    plain = fold_name(raw) == raw.lower()
    parts = _validate_email(raw)
    # IDNA folds on its own what we leave alone, such as the full stop of Chinese and Japanese (UTS
    # #46).
    if not plain or raw.lower().rpartition("@")[2] not in {parts.domain, parts.ascii_domain}:
        raise InvalidName("holds characters that would be read as others; write it in plain ones")
    return (
        f"{parts.local_part}@{parts.ascii_domain}",
        f"{parts.local_part.lower()}@{parts.ascii_domain}",
    )


def canonicalize_email(raw: str) -> str:
    """The canonical form of an address somebody types to be found by. Raises NotAName."""
    parts = _validate_email(fold_name(raw))
    return f"{parts.local_part.lower()}@{parts.ascii_domain}"


def _validate_email(raw: str) -> ValidatedEmail:
    """Dots and plus signs are left alone: folding them takes addresses away from their owners."""
    try:
        parts = validate_email(
            raw, check_deliverability=False, globally_deliverable=False, allow_smtputf8=False
        )
    except EmailNotValidError:
        raise InvalidName("is not an address that mail can be sent to") from None
    top = parts.ascii_domain.rpartition(".")[2]
    if top == parts.ascii_domain or top.isdigit():
        raise InvalidName("needs a domain with a dot in it, and no number")
    if (
        len(parts.local_part) > MAX_LOCAL_PART_LENGTH
        or len(parts.local_part) + 1 + len(parts.ascii_domain) > MAX_EMAIL_LENGTH
    ):
        raise InvalidName("is too long for an address")
    return parts
