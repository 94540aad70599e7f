"""Usernames and addresses in their one canonical form (RFC 8264's caution, in the order that closes the known holes).

Raw length, then forbidden characters, then NFKC, casefold, NFKC again (casefold is not stable under NFKC for 26 code
points), and the grammar last: checking before normalising is how other services took one name for another.
"""

from __future__ import annotations

import re
import unicodedata

from email_validator import EmailNotValidError, ValidatedEmail, validate_email

LONGEST_RAW = 256  # bytes
LONGEST_LOCAL = 64
LONGEST_ADDRESS = 254  # bytes
USERNAME = re.compile(r"[a-z0-9][a-z0-9._-]{2,31}")
RESERVED = frozenset(
    """
    abuse admin administrator anonymous api auth doorward guest help hostmaster info login logout mail me moderator nobody none
    noreply no-reply null owner postmaster register root security self staff support system undefined webmaster
    """.split()
)
# Cc controls, Cf format (bidi controls and most of Default_Ignorable), Cs surrogates, Co private use, Cn unassigned.
FORBIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
# The Default_Ignorable code points that are letters or marks by category (Unicode DerivedCoreProperties).
IGNORABLE = frozenset(
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


class NotAName(ValueError):
    """The text cannot be a username or an address; the message says why, in words for people."""


def folded(raw: str) -> str:
    """The canonical spelling of a text, whatever it is the name of. Raises NotAName."""
    if not raw or len(raw) > LONGEST_RAW or len(raw.encode("utf-8", "surrogatepass")) > LONGEST_RAW:
        raise NotAName("must have 1 to 256 bytes")
    if any(
        unicodedata.category(character) in FORBIDDEN_CATEGORIES or character in IGNORABLE
        for character in raw
    ):
        raise NotAName("holds a character that cannot be seen")
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", raw).casefold())


def new_username(raw: str) -> str:
    """The canonical form of a username somebody wants. Raises NotAName."""
    name = operators_username(raw)
    if name in RESERVED:
        raise NotAName("is reserved")
    return name


def operators_username(raw: str) -> str:
    """The canonical form of a username that the operator wants. Nothing but upper case is folded here. Raises NotAName.

    Reserved names are kept from strangers, who would be taken for the operator; the operator may be called `admin`.
    """
    name = folded(raw)
    if name != raw.lower() or not raw.isascii() or not USERNAME.fullmatch(name):
        raise NotAName(
            "must have 3 to 32 of the characters a-z, 0-9, dot, dash and underscore, and begin with a letter or digit"
        )
    return name


def new_address(raw: str) -> tuple[str, str]:
    """An address somebody wants, as mail is sent to it, and its canonical form. Raises NotAName."""
    plain = folded(raw) == raw.lower()
    parts = _parsed(raw)
    # IDNA folds on its own what we leave alone, such as the full stop of Chinese and Japanese (UTS #46).
    if not plain or raw.lower().rpartition("@")[2] not in {parts.domain, parts.ascii_domain}:
        raise NotAName("holds characters that would be read as others; write it in plain ones")
    return (
        f"{parts.local_part}@{parts.ascii_domain}",
        f"{parts.local_part.lower()}@{parts.ascii_domain}",
    )


def canonical_address(raw: str) -> str:
    """The canonical form of an address somebody types to be found by. Raises NotAName."""
    parts = _parsed(folded(raw))
    return f"{parts.local_part.lower()}@{parts.ascii_domain}"


def _parsed(raw: str) -> ValidatedEmail:
    """Dots and plus signs are left alone: folding them takes addresses away from their owners."""
    try:
        parts = validate_email(
            raw, check_deliverability=False, globally_deliverable=False, allow_smtputf8=False
        )
    except EmailNotValidError:
        raise NotAName("is not an address that mail can be sent to") from None
    top = parts.ascii_domain.rpartition(".")[2]
    if top == parts.ascii_domain or top.isdigit():
        raise NotAName("needs a domain with a dot in it, and no number")
    if (
        len(parts.local_part) > LONGEST_LOCAL
        or len(parts.local_part) + 1 + len(parts.ascii_domain) > LONGEST_ADDRESS
    ):
        raise NotAName("is too long for an address")
    return parts
