"""Normalization of passwords (NIST SP 800-63B-4 section 3.1.1.2, RFC 8265 OpaqueString)."""

from __future__ import annotations

import unicodedata
from enum import StrEnum

MAX_LENGTH = 128  # code points
MAX_BYTES = 1024  # bytes


class RejectionReason(StrEnum):
    """The reason why a password is rejected."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    CONTROL_CHARACTERS = "control_characters"
    COMMON = "common"
    REPETITION = "repetition"
    SEQUENCE = "sequence"
    PERSONAL = "personal"
    UNCHANGED = "unchanged"  # only when a password is changed


class InvalidPassword(ValueError):
    """The text cannot be a password. The message tells users why."""

    def __init__(self, reason: RejectionReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def normalize_password(raw: str) -> str:
    """Return the form of a password that is hashed: NFC, with every kind of space as a space.

    Case is kept. Cheap checks come first. Raises InvalidPassword.
    """
    # Measured before normalization, which changes the length, so that long texts are cheap to
    # reject.
    if not 1 <= len(raw) <= MAX_LENGTH or len(raw.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise InvalidPassword(
            RejectionReason.TOO_LONG if raw else RejectionReason.TOO_SHORT,
            f"must have 1 to {MAX_LENGTH} characters",
        )
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in raw):
        raise InvalidPassword(
            RejectionReason.CONTROL_CHARACTERS, "must not contain control characters"
        )
    text = "".join(
        " " if unicodedata.category(character) == "Zs" else character for character in raw
    )
    return unicodedata.normalize("NFC", text)
