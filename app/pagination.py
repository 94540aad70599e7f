"""Where a list goes on: the last position that was shown, with a mac, so that nobody can make one up or use one of another list."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from app.adapters.encryption import KeyPurpose, compare_digests, compute_keyed_digest, derive_key
from app.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

MAC_LENGTH = 32  # hex digits, 128 bits


class InvalidCursor(InvalidInput):
    """The text is no cursor of this list."""

    def __init__(self) -> None:
        super().__init__(errors={"/query/cursor": ["is not one that this list has handed out"]})


def encode_cursor(keys: Sequence[str], listing: str, position: str) -> str:
    """The cursor of a position. `listing` names the list with all that it was asked for: for another one the cursor is none."""
    body = base64.urlsafe_b64encode(position.encode()).rstrip(b"=").decode()
    return f"{body}.{_compute_mac(keys[0], listing, body)}"


def decode_cursor(keys: Sequence[str], listing: str, cursor: str) -> str:
    """The position again. Raises NotACursor."""
    body, _, mac = cursor.partition(".")
    if not any(compare_digests(mac, _compute_mac(key, listing, body)) for key in keys):
        raise InvalidCursor
    try:
        return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidCursor from None


def _compute_mac(key: str, listing: str, body: str) -> str:
    # The body's alphabet has no space, so where the list's name ends is never in doubt.
    return compute_keyed_digest(derive_key(key, KeyPurpose.CURSORS), f"{listing} {body}")[
        :MAC_LENGTH
    ]
