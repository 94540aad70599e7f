"""What a password may be: long, and otherwise anything (NIST SP 800-63B-4 section 3.1.1.2)."""

from __future__ import annotations

import unicodedata
from enum import StrEnum

MAX_LENGTH = 128  # code points
MAX_BYTES = 1024  # bytes


class RejectionReason(StrEnum):
    """Why a password is refused."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    CONTROL_CHARACTERS = "control_characters"
    COMMON = "common"
    REPETITION = "repetition"
    SEQUENCE = "sequence"
    PERSONAL = "personal"
    UNCHANGED = "unchanged"  # where it is changed


class InvalidPassword(ValueError):
    """The text cannot be a password; the message says why, in words for people."""

    def __init__(self, reason: RejectionReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def normalize_password(raw: str) -> str:
    """A password as it is hashed and checked: RFC 8265 OpaqueString, so odd spaces are spaces and
    accents are composed.

    Case and everything else stays. Raises NotAPassword for what can be no password, before anything
    costly is done.
    """
    # Measured as it was typed: composing can make a text shorter or longer, and a longer one has to
    # be cheap to refuse.
    if not 1 <= len(raw) <= MAX_LENGTH or len(raw.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise InvalidPassword(
            RejectionReason.TOO_LONG if raw else RejectionReason.TOO_SHORT,
            f"must have 1 to {MAX_LENGTH} characters",
        )
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in raw):
        raise InvalidPassword(
            RejectionReason.CONTROL_CHARACTERS, "must not hold control characters"
        )
    text = "".join(
        " " if unicodedata.category(character) == "Zs" else character for character in raw
    )
    return unicodedata.normalize("NFC", text)
