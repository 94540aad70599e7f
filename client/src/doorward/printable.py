"""Makes text from other systems safe to print in a terminal."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from doorward.secret import MASK, Secret

MAX_TEXT_LENGTH = 300
MIN_SUBSTRING_LENGTH = 8  # a shorter secret is masked only where it stands alone as a word


def to_printable(text: object, secrets: Iterable[Secret] = ()) -> str:
    """Return the text on one line, without control characters and secrets, cut to 300 characters.

    Anything but a string becomes an empty string.
    """
    if not isinstance(text, str):
        return ""
    for secret in secrets:
        text = _mask_secret(text, secret)
    cut = text if len(text) <= MAX_TEXT_LENGTH else text[:MAX_TEXT_LENGTH] + "…"
    return replace_control_characters(cut).strip()


def replace_control_characters(text: str) -> str:
    """Replace line breaks and control characters, which a terminal would obey, by spaces."""
    return "".join(
        " " if unicodedata.category(character).startswith(("C", "Z")) else character
        for character in text
    )


def _mask_secret(text: str, secret: Secret) -> str:
    """Mask the secret. A short one, such as a bad password, could be part of any word."""
    if len(secret.reveal()) >= MIN_SUBSTRING_LENGTH:
        return text.replace(secret.reveal(), MASK)
    return re.sub(rf"(?<!\w){re.escape(secret.reveal())}(?!\w)", MASK, text) if secret else text
