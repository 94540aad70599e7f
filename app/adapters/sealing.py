"""Symmetric cryptography under SECRET_KEY: one HKDF label for each purpose, AES-256-GCM for what must be read again."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from enum import StrEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12
NAME_LENGTH = 8


class Purpose(StrEnum):
    REFRESH = "refresh"
    OUTBOX = "sealing outbox"
    SIGNING_KEYS = "sealing signing keys"
    SHORT_CODES = "digests of short codes"
    NAMES = "digests of names"
    CURSORS = "cursors"
    PAGE_COOKIES = "page cookies"


class CannotUnseal(Exception):
    """The sealed text was altered, or its key is no longer in SECRET_KEY."""


def derive(secret: str, purpose: Purpose, salt: bytes = b"") -> bytes:
    """A 256-bit key for one purpose (RFC 5869)."""
    return HKDF(hashes.SHA256(), KEY_BYTES, salt or None, f"doorward {purpose}".encode()).derive(
        secret.encode()
    )


def name(secret: str) -> str:
    """A short public name by which a sealed text or a token says which of the keys made it."""
    digest = hashlib.sha256(b"doorward key name" + secret.encode()).digest()
    return base64.b32encode(digest).decode().lower()[:NAME_LENGTH]


def named(keys: Sequence[str], wanted: str) -> str | None:
    """The key of that name, None when it is no longer among ours."""
    return next((key for key in keys if name(key) == wanted), None)


def seal(keys: Sequence[str], purpose: Purpose, plain: bytes, context: str) -> str:
    """Encrypt under the newest key; `context` (a row's id) must be the same when it is read."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    sealed = AESGCM(derive(keys[0], purpose)).encrypt(nonce, plain, context.encode())
    return f"{name(keys[0])}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"


def unseal(keys: Sequence[str], purpose: Purpose, sealed: str, context: str) -> bytes:
    """The plain text again. Raises CannotUnseal."""
    wanted, _, body = sealed.partition(".")
    key = named(keys, wanted)
    if key is None:
        raise CannotUnseal(f"SECRET_KEY no longer holds the key named {wanted}")
    raw = base64.urlsafe_b64decode(body)
    try:
        return AESGCM(derive(key, purpose)).decrypt(
            raw[:NONCE_BYTES], raw[NONCE_BYTES:], context.encode()
        )
    except InvalidTag as error:
        raise CannotUnseal("the sealed text does not fit its row") from error


def rewrapped(keys: Sequence[str], purpose: Purpose, sealed: str, context: str) -> str | None:
    """The same sealed under the newest key, None where it is already. Raises CannotUnseal."""
    if sealed.partition(".")[0] == name(keys[0]):
        return None
    return seal(keys, purpose, unseal(keys, purpose, sealed, context), context)


def keyed_digest(key: bytes, text: str) -> str:
    """HMAC-SHA-256 in hex."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def code_digests(keys: Sequence[str], context: str, code: str) -> list[str]:
    """The digests that a short code may have at rest, one for each key, the newest first."""
    return [keyed_digest(derive(key, Purpose.SHORT_CODES), f"{context} {code}") for key in keys]


def name_digest(keys: Sequence[str], text: str) -> str:
    """A stable stand-in for a name or an address where the thing itself must not be written."""
    return keyed_digest(derive(keys[0], Purpose.NAMES), text)


def equal(left: str, right: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())
