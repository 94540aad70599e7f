"""Cursors of paginated lists: a position, with a MAC that binds it to the list and its filters."""

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
    """The cursor is not one that this list returned."""

    def __init__(self) -> None:
        super().__init__(
            errors={
                "/query/cursor": ["must be the `next` value of the same list with the same filters"]
            }
        )


def encode_cursor(keys: Sequence[str], listing: str, position: str) -> str:
    """Encode a position.

    `listing` identifies the list and its filters; the cursor is valid for no other.
    """
    body = base64.urlsafe_b64encode(position.encode()).rstrip(b"=").decode()
    return f"{body}.{_compute_mac(keys[0], listing, body)}"


def decode_cursor(keys: Sequence[str], listing: str, cursor: str) -> str:
    """Return the position. Raises InvalidCursor."""
    body, _, mac = cursor.partition(".")
    if not any(compare_digests(mac, _compute_mac(key, listing, body)) for key in keys):
        raise InvalidCursor
    try:
        return base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidCursor from None


def _compute_mac(key: str, listing: str, body: str) -> str:
    # The encoded position contains no space, so the MAC input is unambiguous.
    return compute_keyed_digest(derive_key(key, KeyPurpose.CURSORS), f"{listing} {body}")[
        :MAC_LENGTH
    ]
