"""Encryption (AES-256-GCM) and keyed digests under SECRET_KEY, with a key for each purpose."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from enum import StrEnum
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32
NONCE_BYTES = 12
KEY_ID_LENGTH = 8


class KeyPurpose(StrEnum):
    REFRESH = "refresh"
    OUTBOX = "sealing outbox"
    SIGNING_KEYS = "sealing signing keys"
    SHORT_CODES = "digests of short codes"
    NAMES = "digests of names"
    CURSORS = "cursors"
    PAGE_COOKIES = "page cookies"


class UnsealError(Exception):
    """The sealed text was changed, or its key is no longer in SECRET_KEY."""


def derive_key(secret: str, purpose: KeyPurpose, salt: bytes = b"") -> bytes:
    """Derive a 256-bit key for one purpose with HKDF (RFC 5869)."""
    return HKDF(hashes.SHA256(), KEY_BYTES, salt or None, f"doorward {purpose}".encode()).derive(
        secret.encode()
    )


@lru_cache(maxsize=64)
def compute_key_id(secret: str) -> str:
    """Return the short public id by which sealed texts and tokens name their secret key."""
    digest = hashlib.sha256(b"doorward key name" + secret.encode()).digest()
    return base64.b32encode(digest).decode().lower()[:KEY_ID_LENGTH]


def find_key_by_id(keys: Sequence[str], wanted: str) -> str | None:
    """Return the secret key with that id, None if it is no longer in SECRET_KEY."""
    return next((key for key in keys if compute_key_id(key) == wanted), None)


def seal(keys: Sequence[str], purpose: KeyPurpose, plain: bytes, context: str) -> str:
    """Encrypt under the newest secret key. `context`, such as a row id, must match in `unseal`."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    sealed = AESGCM(derive_key(keys[0], purpose)).encrypt(nonce, plain, context.encode())
    return f"{compute_key_id(keys[0])}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"


def unseal(keys: Sequence[str], purpose: KeyPurpose, sealed: str, context: str) -> bytes:
    """Decrypt a sealed text. Raises UnsealError."""
    wanted, _, body = sealed.partition(".")
    key = find_key_by_id(keys, wanted)
    if key is None:
        raise UnsealError(f"SECRET_KEY no longer contains the key {wanted}")
    raw = base64.urlsafe_b64decode(body)
    try:
        return AESGCM(derive_key(key, purpose)).decrypt(
            raw[:NONCE_BYTES], raw[NONCE_BYTES:], context.encode()
        )
    except InvalidTag as error:
        raise UnsealError("the sealed text does not match its context") from error


def reseal_if_outdated(
    keys: Sequence[str], purpose: KeyPurpose, sealed: str, context: str
) -> str | None:
    """Seal again under the newest secret key; None if it already is. Raises UnsealError."""
    if sealed.partition(".")[0] == compute_key_id(keys[0]):
        return None
    return seal(keys, purpose, unseal(keys, purpose, sealed, context), context)


def compute_keyed_digest(key: bytes, text: str) -> str:
    """Compute an HMAC-SHA-256 in hex."""
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def compute_code_digests(keys: Sequence[str], context: str, code: str) -> list[str]:
    """Compute the stored digest of a short code for each secret key, the newest first."""
    return [
        compute_keyed_digest(derive_key(key, KeyPurpose.SHORT_CODES), f"{context} {code}")
        for key in keys
    ]


def compute_name_digest(keys: Sequence[str], text: str) -> str:
    """Compute a stable digest of a username or email address that must not be stored itself."""
    return compute_keyed_digest(derive_key(keys[0], KeyPurpose.NAMES), text)


def compare_digests(left: str, right: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())
