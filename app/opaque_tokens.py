"""The format of every opaque token: <prefix>_<id>_<secret><checksum>, all base62.

The id finds the row, only a digest of the token is stored, and the checksum rejects malformed
tokens without a query. The layout follows GitHub's tokens of 2021: secret scanners recognize it,
and a double click selects it whole.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass
from functools import cache

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH = 22  # 131 bits
SECRET_LENGTH = 43  # 256 bits
CHECKSUM_LENGTH = 6
TOKEN_PATTERN = re.compile(
    rf"([a-z]+)_([0-9A-Za-z]{{{ID_LENGTH}}})"
    rf"_([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)

CODE_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 section 6.1: no vowels and no digits
CODE_LENGTH = 8


@dataclass(frozen=True, slots=True)
class NewToken:
    """A new token. Send the token to the client and store the digest."""

    token: str
    digest: str

    def __repr__(self) -> str:
        return "NewToken(…)"


def _generate_random(length: int, alphabet: str = ALPHABET) -> str:
    table, unfair = _build_table(alphabet)
    letters = b""
    while len(letters) < length:
        letters += secrets.token_bytes(2 * length).translate(table, unfair)
    return letters[:length].decode()


@cache
def _build_table(alphabet: str) -> tuple[bytes, bytes]:
    """Return the letter of each byte, and the bytes to discard.

    Bytes beyond a multiple of the alphabet would favor its first letters.
    """
    table = bytes(ord(alphabet[byte % len(alphabet)]) for byte in range(256))
    return table, bytes(range(256 - 256 % len(alphabet), 256))


def _compute_checksum(text: str) -> str:
    value, letters = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, len(ALPHABET))
        letters = ALPHABET[digit] + letters
    return letters


def compute_digest(token: str) -> str:
    """Return the SHA-256 to store for a token. 256 random bits need no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


def generate_id(prefix: str) -> str:
    """Generate an unguessable id such as `acc_…` or `ses_…`, with 131 random bits."""
    return f"{prefix}_{_generate_random(ID_LENGTH)}"


def is_id(kind: str, text: str) -> bool:
    """Return whether the text has the format of an id with that prefix.

    Other texts need no query.
    """
    return re.fullmatch(rf"{kind}_[0-9A-Za-z]{{{ID_LENGTH}}}", text) is not None


def generate_token(prefix: str, row_id: str) -> NewToken:
    """Generate a token for the row `<kind>_<id>`, with 256 secret bits."""
    body = f"{prefix}_{row_id.partition('_')[2]}_{_generate_random(SECRET_LENGTH)}"
    token = body + _compute_checksum(body)
    return NewToken(token, compute_digest(token))


def parse_row_id(prefix: str, kind: str, token: str) -> str | None:
    """Return the id of the row that a token belongs to, None if it is malformed."""
    parts = TOKEN_PATTERN.fullmatch(token)
    if (
        parts is None
        or parts[1] != prefix
        or _compute_checksum(token[:-CHECKSUM_LENGTH]) != parts[4]
    ):
        return None
    return f"{kind}_{parts[2]}"


def has_digest(token: str, expected_digest: str) -> bool:
    """Compare the digest of a token with a stored one in constant time."""
    return hmac.compare_digest(compute_digest(token), expected_digest)


def generate_code() -> str:
    """Generate a code for people to type: XXXX-XXXX.

    It has 34 bits, so attempts must be limited.
    """
    letters = _generate_random(CODE_LENGTH, CODE_ALPHABET)
    return f"{letters[:4]}-{letters[4:]}"


def normalize_code(code: str) -> str:
    """Remove dashes, spaces and dots, and convert to upper case."""
    return re.sub(r"[\s.\-]", "", code).upper()
