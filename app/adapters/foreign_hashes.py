"""Password hashes that other systems made: read strictly, and too dear a one is refused before anything is computed.

What is read here is renewed with Argon2id at the first login, so nothing in this file ever makes a hash.
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

Check = Callable[[bytes], bool]

BCRYPT_BYTES = 72
BCRYPT_ALPHABET = "./" + string.ascii_uppercase + string.ascii_lowercase + string.digits
# Each of these costs about a second on one core of 2024; what others set by default costs a third of it or less.
MOST_BCRYPT = 14  # as a power of two
LEAST_BCRYPT = 4
MOST_ITERATIONS = {"sha1": 4_000_000, "sha256": 3_000_000, "sha512": 1_250_000}
MOST_ROUNDS = 1_000_000
LEAST_ROUNDS = 1000
DEFAULT_ROUNDS = 5000
MOST_SCRYPT_MEMORY = 129 << 20  # bytes; 128 MiB and the little that comes on top
MOST_SCRYPT_WORK = 1 << 22  # N times r times p
MOST_SCRYPT_WIDTH = 64  # of r, and of p: what comes before and after the mixing grows with both
DIGEST_BYTES = {"sha1": 20, "sha256": 32, "sha512": 64}
LEAST_KEY = 16  # bytes

NUMBER = r"[1-9][0-9]{0,9}"
SALT = r"[!-#%-~]{1,128}"
BASE64 = r"[A-Za-z0-9+/]{1,128}={0,2}"
CRYPT64 = r"[./A-Za-z0-9]"


class NotAHash(ValueError):
    """The text is no hash that can be checked here; the message says why, in words for people, and quotes nothing of it."""


class TooLong(ValueError):
    """The kind of hash takes in only the beginning of this password, so that others would fit as well."""


def read(stored: str) -> Check:
    """How to check passwords against that hash. Raises NotAHash; the check raises TooLong."""
    for pattern, reader in KINDS:
        parts = re.fullmatch(pattern, stored)
        if parts is not None:
            return reader(parts)
    raise NotAHash("is damaged, or of a kind that cannot be checked")


def unwrapped(stored: str) -> str:
    """The hash without the name that Django writes before it, where it says what it is by itself."""
    for name, kind in (("argon2", "$argon2"), ("bcrypt$", "$2")):
        plain = stored.removeprefix(name)
        if plain != stored and plain.startswith(kind):
            return plain
    return stored


def _bcrypt(parts: re.Match[str]) -> Check:
    if int(parts["cost"]) > MOST_BCRYPT:
        raise NotAHash(f"costs too much to check: bcrypt of more than {MOST_BCRYPT}")
    if int(parts["cost"]) < LEAST_BCRYPT:
        raise NotAHash("is damaged: its numbers do not go together")
    # The last letter of the salt holds four bits that mean nothing. Some systems set them, and the library takes no such salt.
    last = BCRYPT_ALPHABET[BCRYPT_ALPHABET.index(parts["last"]) & ~0xF]
    return partial(
        _fits_digested if parts["digested"] else _fits_bcrypt,
        f"{parts['salt']}{last}{parts['key']}".encode(),
    )


def _fits_bcrypt(stored: bytes, password: bytes) -> bool:
    if len(password) > BCRYPT_BYTES:
        raise TooLong
    return bcrypt.checkpw(password, stored)


def _fits_digested(stored: bytes, password: bytes) -> bool:
    """Django's way around the 72 bytes."""
    return _fits_bcrypt(stored, hashlib.sha256(password).hexdigest().encode())


def _pbkdf2(parts: re.Match[str]) -> Check:
    digest, iterations = parts["digest"], int(parts["cost"])
    return _derived(digest, iterations, parts["salt"].encode(), _key(parts))


def _pbkdf2_of_passlib(parts: re.Match[str]) -> Check:
    salt, key = (_decoded(parts[name].replace(".", "+") + "==") for name in ("salt", "base64"))
    return _derived(parts["digest"] or "sha1", int(parts["cost"]), salt, key)


def _derived(digest: str, iterations: int, salt: bytes, key: bytes) -> Check:
    if iterations > MOST_ITERATIONS[digest]:
        raise NotAHash(
            f"costs too much to check: PBKDF2 of more than {MOST_ITERATIONS[digest]} iterations"
        )
    if len(key) != DIGEST_BYTES[digest]:
        raise NotAHash("is damaged: its length is not that of its kind")
    return lambda password: hmac.compare_digest(
        hashlib.pbkdf2_hmac(digest, password, salt, iterations), key
    )


def _scrypt(parts: re.Match[str]) -> Check:
    n, r, p, salt, key = (
        int(parts["n"]),
        int(parts["r"]),
        int(parts["p"]),
        parts["salt"].encode(),
        _key(parts),
    )
    memory = 128 * r * (n + p + 2)
    if memory > MOST_SCRYPT_MEMORY or n * r * p > MOST_SCRYPT_WORK or max(r, p) > MOST_SCRYPT_WIDTH:
        raise NotAHash(
            "costs too much to check: scrypt of more than 128 MiB, or of more work than four times that"
        )
    if n & (n - 1) or not 1 < n < 1 << 16 * r or len(key) < LEAST_KEY:
        raise NotAHash("is damaged: its numbers do not go together")
    most = memory + (1 << 20)
    return lambda password: hmac.compare_digest(
        hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=most, dklen=len(key)), key
    )


def _sha_crypt(parts: re.Match[str]) -> Check:
    rounds = int(parts["cost"] or DEFAULT_ROUNDS)
    if rounds > MOST_ROUNDS:
        raise NotAHash(f"costs too much to check: more than {MOST_ROUNDS} rounds of sha_crypt")
    if rounds < LEAST_ROUNDS:
        raise NotAHash("is damaged: its numbers do not go together")
    kind = sha256_crypt if parts["kind"] == "5" else sha512_crypt
    return lambda password: bool(kind.verify(password, parts[0]))


def _key(parts: re.Match[str]) -> bytes:
    found = parts.groupdict()
    return bytes.fromhex(found["hex"]) if found.get("hex") else _decoded(found["base64"])


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except binascii.Error:
        raise NotAHash("is damaged: a part of it cannot be read") from None


_COST = rf"(?P<cost>{NUMBER})"
_SALT = rf"(?P<salt>{SALT})"
_HEX = r"(?P<hex>(?:[0-9a-f]{2}){1,64})"
_BASE64 = rf"(?P<base64>{BASE64})"
KINDS: tuple[tuple[str, Callable[[re.Match[str]], Check]], ...] = (
    (
        rf"(?P<digested>bcrypt_sha256\$)?(?P<salt>\$2[aby]\$(?P<cost>[0-9]{{2}})\${CRYPT64}{{21}})(?P<last>{CRYPT64})(?P<key>{CRYPT64}{{31}})",
        _bcrypt,
    ),
    (rf"pbkdf2_(?P<digest>sha1|sha256)\${_COST}\${_SALT}\${_BASE64}", _pbkdf2),  # Django
    (rf"pbkdf2:(?P<digest>sha1|sha256|sha512):{_COST}\${_SALT}\${_HEX}", _pbkdf2),  # Werkzeug
    (
        rf"\$pbkdf2(?:-(?P<digest>sha256|sha512))?\${_COST}\$(?P<salt>{CRYPT64}{{1,128}})\$(?P<base64>{CRYPT64}{{1,128}})",
        _pbkdf2_of_passlib,
    ),
    (
        rf"scrypt\$(?P<n>{NUMBER})\${_SALT}\$(?P<r>{NUMBER})\$(?P<p>{NUMBER})\${_BASE64}",
        _scrypt,
    ),  # Django
    (
        rf"scrypt:(?P<n>{NUMBER}):(?P<r>{NUMBER}):(?P<p>{NUMBER})\${_SALT}\${_HEX}",
        _scrypt,
    ),  # Werkzeug
    (
        rf"\$(?P<kind>5)\$(?:rounds=(?P<cost>{NUMBER})\$)?{CRYPT64}{{1,16}}\${CRYPT64}{{43}}",
        _sha_crypt,
    ),
    (
        rf"\$(?P<kind>6)\$(?:rounds=(?P<cost>{NUMBER})\$)?{CRYPT64}{{1,16}}\${CRYPT64}{{86}}",
        _sha_crypt,
    ),
)
