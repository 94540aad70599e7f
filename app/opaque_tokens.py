"""One shape for every stored secret we hand out: <prefix>_<id>_<secret><checksum>, all base62.

The id finds the row, only a digest of the whole is kept, and the checksum refuses junk without a read. The layout is
GitHub's of 2021: it can be found by secret scanners and pasted with a double click.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_LENGTH = 22  # 131 bits
SECRET_LENGTH = 43  # 256 bits
CHECKSUM_LENGTH = 6
TOKEN_PATTERN = re.compile(
    rf"([a-z]+)_([0-9A-Za-z]{{{ID_LENGTH}}})_([0-9A-Za-z]{{{SECRET_LENGTH}}})([0-9A-Za-z]{{{CHECKSUM_LENGTH}}})"
)

CODE_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628 section 6.1: no vowels, so no words, and nothing that looks like a digit
CODE_LENGTH = 8


@dataclass(frozen=True, slots=True)
class NewToken:
    """A new secret: the token goes out, the digest is kept."""

    token: str
    digest: str

    def __repr__(self) -> str:
        return "Minted(…)"


def _generate_random(length: int, alphabet: str = ALPHABET) -> str:
    # One read for many letters; what would favour the first letters of the alphabet is thrown away.
    fair = 256 - 256 % len(alphabet)
    letters: list[str] = []
    while len(letters) < length:
        letters += [
            alphabet[byte % len(alphabet)]
            for byte in secrets.token_bytes(2 * length)
            if byte < fair
        ]
    return "".join(letters[:length])


def _compute_checksum(text: str) -> str:
    value, letters = zlib.crc32(text.encode()), ""
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, len(ALPHABET))
        letters = ALPHABET[digit] + letters
    return letters


def compute_digest(token: str) -> str:
    """What is kept of a token: its SHA-256. 256 random bits need no salt."""
    return hashlib.sha256(token.encode()).hexdigest()


def generate_id(prefix: str) -> str:
    """A public name that cannot be guessed: `acc_…`, `ses_…`, 131 random bits."""
    return f"{prefix}_{_generate_random(ID_LENGTH)}"


def is_id(kind: str, text: str) -> bool:
    """Could this be an id of that kind? Anything else needs no read."""
    return re.fullmatch(rf"{kind}_[0-9A-Za-z]{{{ID_LENGTH}}}", text) is not None


def generate_token(prefix: str, row_id: str) -> NewToken:
    """A token for the row `<kind>_<id>`; 256 bits of it are secret."""
    body = f"{prefix}_{row_id.partition('_')[2]}_{_generate_random(SECRET_LENGTH)}"
    token = body + _compute_checksum(body)
    return NewToken(token, compute_digest(token))


def parse_row_id(prefix: str, kind: str, token: str) -> str | None:
    """The id of the row that a token is of, None when it is none of ours."""
    parts = TOKEN_PATTERN.fullmatch(token)
    if (
        parts is None
        or parts[1] != prefix
        or _compute_checksum(token[:-CHECKSUM_LENGTH]) != parts[4]
    ):
        return None
    return f"{kind}_{parts[2]}"


def has_digest(token: str, expected_digest: str) -> bool:
    """Is it the token whose digest was kept? In constant time."""
    return hmac.compare_digest(compute_digest(token), expected_digest)


def generate_code() -> str:
    """A code that a person can type: XXXX-XXXX, 34 bits, so it needs a limit on tries."""
    letters = _generate_random(CODE_LENGTH, CODE_ALPHABET)
    return f"{letters[:4]}-{letters[4:]}"


def normalize_code(code: str) -> str:
    """The code as it was meant: case, dashes, spaces and dots do not count."""
    return re.sub(r"[\s.\-]", "", code).upper()
