"""Check passwords against hashes imported from other systems.

Hashes are parsed strictly, and those that are too expensive are rejected before any computation.
The first login replaces them with Argon2id, so no function here creates a hash.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import string
from collections.abc import Callable
from functools import partial

import bcrypt
from passlib.handlers.sha2_crypt import sha256_crypt, sha512_crypt

PasswordCheck = Callable[[bytes], bool]

BCRYPT_BYTES = 72
BCRYPT_ALPHABET = "./" + string.ascii_uppercase + string.ascii_lowercase + string.digits
# Each maximum takes about a second on a core of 2024. Common defaults take a third of that or less.
MAX_BCRYPT_COST = 14  # as a power of two
MIN_BCRYPT_COST = 4
MAX_PBKDF2_ITERATIONS = {"sha1": 4_000_000, "sha256": 3_000_000, "sha512": 1_250_000}
MAX_SHA_CRYPT_ROUNDS = 1_000_000
MIN_SHA_CRYPT_ROUNDS = 1000
DEFAULT_SHA_CRYPT_ROUNDS = 5000
MAX_SCRYPT_MEMORY_BYTES = 129 << 20  # 128 MiB and a small overhead
MAX_SCRYPT_WORK = 1 << 22  # N times r times p
MAX_SCRYPT_WIDTH = 64  # of r and of p, which determine the cost outside the mixing
DIGEST_BYTES = {"sha1": 20, "sha256": 32, "sha512": 64}
MIN_KEY_BYTES = 16  # bytes

NUMBER = r"[1-9][0-9]{0,9}"
SALT = r"[!-#%-~]{1,128}"
BASE64 = r"[A-Za-z0-9+/]{1,128}={0,2}"
CRYPT64 = r"[./A-Za-z0-9]"


class UnusablePasswordHash(ValueError):
    """The hash is malformed, unsupported or too expensive.

    The message gives the reason and quotes nothing.
    """


class PasswordTooLongForHash(ValueError):
    """The algorithm would ignore the end of this password, so other passwords would match too."""


def parse_hash(stored: str) -> PasswordCheck:
    """Return a function that checks passwords against the hash. Raises UnusablePasswordHash.

    The returned function raises PasswordTooLongForHash.
    """
    for pattern, reader in HASH_FORMATS:
        parts = re.fullmatch(pattern, stored)
        if parts is not None:
            return reader(parts)
    raise UnusablePasswordHash("is malformed or uses an unsupported algorithm")


def strip_django_prefix(stored: str) -> str:
    """Remove the prefix that Django adds to hashes in a standard format."""
    for name, kind in (("argon2", "$argon2"), ("bcrypt$", "$2")):
        plain = stored.removeprefix(name)
        if plain != stored and plain.startswith(kind):
            return plain
    return stored


def _parse_bcrypt(parts: re.Match[str]) -> PasswordCheck:
    if int(parts["cost"]) > MAX_BCRYPT_COST:
        raise UnusablePasswordHash(
            f"is too expensive: the maximum bcrypt cost is {MAX_BCRYPT_COST}"
        )
    if int(parts["cost"]) < MIN_BCRYPT_COST:
        raise UnusablePasswordHash("is malformed: its parameters are inconsistent")
    # Four bits of the last character of the salt are unused. Some systems set them, but the library
    # rejects that.
    last = BCRYPT_ALPHABET[BCRYPT_ALPHABET.index(parts["last"]) & ~0xF]
    return partial(
        _check_bcrypt_sha256 if parts["digested"] else _check_bcrypt,
        f"{parts['salt']}{last}{parts['key']}".encode(),
    )


def _check_bcrypt(stored: bytes, password: bytes) -> bool:
    if len(password) > BCRYPT_BYTES:
        raise PasswordTooLongForHash
    return bcrypt.checkpw(password, stored)


def _check_bcrypt_sha256(stored: bytes, password: bytes) -> bool:
    """Check a hash of Django, which hashes the password first to avoid the limit of 72 bytes."""
    return _check_bcrypt(stored, hashlib.sha256(password).hexdigest().encode())


def _parse_pbkdf2(parts: re.Match[str]) -> PasswordCheck:
    digest, iterations = parts["digest"], int(parts["cost"])
    return _build_pbkdf2_check(digest, iterations, parts["salt"].encode(), _decode_key(parts))


def _parse_passlib_pbkdf2(parts: re.Match[str]) -> PasswordCheck:
    salt, key = (
        _decode_base64(parts[name].replace(".", "+") + "==") for name in ("salt", "base64")
    )
    return _build_pbkdf2_check(parts["digest"] or "sha1", int(parts["cost"]), salt, key)


def _build_pbkdf2_check(digest: str, iterations: int, salt: bytes, key: bytes) -> PasswordCheck:
    if iterations > MAX_PBKDF2_ITERATIONS[digest]:
        raise UnusablePasswordHash(
            "is too expensive: the maximum for PBKDF2 is "
            f"{MAX_PBKDF2_ITERATIONS[digest]} iterations"
        )
    if len(key) != DIGEST_BYTES[digest]:
        raise UnusablePasswordHash("is malformed: its length does not fit its algorithm")
    return lambda password: hmac.compare_digest(
        hashlib.pbkdf2_hmac(digest, password, salt, iterations), key
    )


def _parse_scrypt(parts: re.Match[str]) -> PasswordCheck:
    n, r, p, salt, key = (
        int(parts["n"]),
        int(parts["r"]),
        int(parts["p"]),
        parts["salt"].encode(),
        _decode_key(parts),
    )
    memory = 128 * r * (n + p + 2)
    if (
        memory > MAX_SCRYPT_MEMORY_BYTES
        or n * r * p > MAX_SCRYPT_WORK
        or max(r, p) > MAX_SCRYPT_WIDTH
    ):
        raise UnusablePasswordHash(
            "is too expensive: the maximum for scrypt is 128 MiB and 4 times that in work"
        )
    if n & (n - 1) or not 1 < n < 1 << 16 * r or len(key) < MIN_KEY_BYTES:
        raise UnusablePasswordHash("is malformed: its parameters are inconsistent")
    max_memory = memory + (1 << 20)
    return lambda password: hmac.compare_digest(
        hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=max_memory, dklen=len(key)), key
    )


def _parse_sha_crypt(parts: re.Match[str]) -> PasswordCheck:
    rounds = int(parts["cost"] or DEFAULT_SHA_CRYPT_ROUNDS)
    if rounds > MAX_SHA_CRYPT_ROUNDS:
        raise UnusablePasswordHash(
            f"is too expensive: the maximum for sha_crypt is {MAX_SHA_CRYPT_ROUNDS} rounds"
        )
    if rounds < MIN_SHA_CRYPT_ROUNDS:
        raise UnusablePasswordHash("is malformed: its parameters are inconsistent")
    algorithm = sha256_crypt if parts["kind"] == "5" else sha512_crypt
    return lambda password: bool(algorithm.verify(password, parts[0]))


def _decode_key(parts: re.Match[str]) -> bytes:
    found = parts.groupdict()
    return bytes.fromhex(found["hex"]) if found.get("hex") else _decode_base64(found["base64"])


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        raise UnusablePasswordHash("is malformed: a part is not base64") from None


_COST = rf"(?P<cost>{NUMBER})"
_SALT = rf"(?P<salt>{SALT})"
_HEX = r"(?P<hex>(?:[0-9a-f]{2}){1,64})"
_BASE64 = rf"(?P<base64>{BASE64})"
HASH_FORMATS: tuple[tuple[str, Callable[[re.Match[str]], PasswordCheck]], ...] = (
    (
        (
            rf"(?P<digested>bcrypt_sha256\$)?(?P<salt>\$2[aby]\$(?P<cost>[0-9]{{2}})\${CRYPT64}{{21}})"
            rf"(?P<last>{CRYPT64})(?P<key>{CRYPT64}{{31}})"
        ),
        _parse_bcrypt,
    ),
    (rf"pbkdf2_(?P<digest>sha1|sha256)\${_COST}\${_SALT}\${_BASE64}", _parse_pbkdf2),  # Django
    (rf"pbkdf2:(?P<digest>sha1|sha256|sha512):{_COST}\${_SALT}\${_HEX}", _parse_pbkdf2),  # Werkzeug
    (
        (
            rf"\$pbkdf2(?:-(?P<digest>sha256|sha512))?\${_COST}\$(?P<salt>{CRYPT64}{{1,128}})"
            rf"\$(?P<base64>{CRYPT64}{{1,128}})"
        ),
        _parse_passlib_pbkdf2,
    ),
    (
        rf"scrypt\$(?P<n>{NUMBER})\${_SALT}\$(?P<r>{NUMBER})\$(?P<p>{NUMBER})\${_BASE64}",
        _parse_scrypt,
    ),  # Django
    (
        rf"scrypt:(?P<n>{NUMBER}):(?P<r>{NUMBER}):(?P<p>{NUMBER})\${_SALT}\${_HEX}",
        _parse_scrypt,
    ),  # Werkzeug
    (
        rf"\$(?P<kind>5)\$(?:rounds=(?P<cost>{NUMBER})\$)?{CRYPT64}{{1,16}}\${CRYPT64}{{43}}",
        _parse_sha_crypt,
    ),
    (
        rf"\$(?P<kind>6)\$(?:rounds=(?P<cost>{NUMBER})\$)?{CRYPT64}{{1,16}}\${CRYPT64}{{86}}",
        _parse_sha_crypt,
    ),
)
