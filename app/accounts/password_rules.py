"""What a password may be: long, and otherwise anything (NIST SP 800-63B-4 section 3.1.1.2)."""

from __future__ import annotations

import unicodedata

LONGEST = 128  # code points
LONGEST_RAW = 1024  # bytes


class NotAPassword(ValueError):
    """The text cannot be a password; the message says why, in words for people."""


def normalised(raw: str) -> str:
    """A password as it is hashed and checked: RFC 8265 OpaqueString, so odd spaces are spaces and accents are composed.

    Case and everything else stays. Raises NotAPassword for what can be no password, before anything costly is done.
    """
    # Measured as it was typed: composing can make a text shorter or longer, and a longer one has to be cheap to refuse.
    if not 1 <= len(raw) <= LONGEST or len(raw.encode("utf-8", "surrogatepass")) > LONGEST_RAW:
        raise NotAPassword(f"must have 1 to {LONGEST} characters")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in raw):
        raise NotAPassword("must not hold control characters")
    text = "".join(" " if unicodedata.category(character) == "Zs" else character for character in raw)
    return unicodedata.normalize("NFC", text)


def new_password(raw: str, *, least: int) -> str:
    """A password somebody wants. Raises NotAPassword."""
    text = normalised(raw)
    if len(text) < least:
        raise NotAPassword(f"must have at least {least} characters; a sentence of a few words is easy to remember")
    return text
