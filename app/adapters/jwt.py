"""Sign JSON Web Tokens and verify signatures, accepting exactly one encoding of each token.

Verified tokens are remembered by the SHA-256 of their text, because a signature costs more than the
rest of a check. They are forgotten when the keys change.

Only signatures are verified here. `app.verification` checks the claims against `work.now`; PyJWT
would read its own clock.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm
from jwt.utils import base64url_encode

MAX_TOKEN_LENGTH = 4096
MAX_REMEMBERED = 8192  # tokens, accepted and rejected ones each
MAX_REMEMBERED_SECONDS = 300.0
MAX_KEY_AGE_SECONDS = 5.0  # of signing keys and global epoch in memory
TOKEN_PATTERN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
KID_PATTERN = re.compile(r"[A-Za-z0-9_-]{8,64}")
HEADER_NAMES = {"alg", "kid", "typ"}
# jwt.decode would parse the token again and check times against its own clock, so only its
# signature algorithms are used.
ALGORITHMS: Mapping[str, Algorithm] = {
    "ES256": ECAlgorithm(ECAlgorithm.SHA256),
    "EdDSA": OKPAlgorithm(),
}
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
P256_BYTES = 32

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
Claims = dict[str, Any]


class TokenRejected(Exception):
    """The token was not signed here, or is not encoded as it was signed."""


@dataclass(frozen=True, slots=True)
class SigningKeyPair:
    """A signing key ready for use. Its repr never contains the private key."""

    kid: str
    typ: str  # of the only type of token it signs
    algorithm: str
    public_jwk: Mapping[str, str]
    private: PrivateKey = field(repr=False)
    public: PublicKey = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "public", self.private.public_key())


class _TokenMemory:
    """Tokens whose signature was verified: the claims of good ones, and the digests of bad ones."""

    def __init__(self) -> None:
        self._accepted: dict[bytes, tuple[Claims, float]] = {}
        self._rejected: dict[bytes, None] = {}

    def find_claims(self, digest: bytes) -> Claims | None:
        """Return the claims of a token, or None if it is new. Raises TokenRejected."""
        if digest in self._rejected:
            raise TokenRejected("invalid signature")
        claims, remembered_at = self._accepted.get(digest, (None, 0.0))
        return claims if time.monotonic() - remembered_at < MAX_REMEMBERED_SECONDS else None

    def accept(self, digest: bytes, claims: Claims) -> None:
        _make_room(self._accepted)
        self._accepted[digest] = (claims, time.monotonic())

    def reject(self, digest: bytes) -> None:
        _make_room(self._rejected)
        self._rejected[digest] = None


@dataclass(frozen=True, slots=True)
class _Snapshot:
    keys: Mapping[str, SigningKeyPair]
    signers: Mapping[str, SigningKeyPair]
    global_epoch: int
    loaded_at: float
    memory: _TokenMemory = field(default_factory=_TokenMemory)


class SigningKeySet:
    """The keys this process signs and verifies with.

    `app.signing_keys` replaces them atomically.
    """

    def __init__(self) -> None:
        self._snapshot = _Snapshot({}, {}, 0, float("-inf"))

    def replace_keys(
        self,
        keys: Mapping[str, SigningKeyPair],
        signers: Iterable[SigningKeyPair],
        *,
        global_epoch: int,
        loaded_at: float,
    ) -> None:
        """Replace all keys.

        `signers` has one key for each type of token; `loaded_at` is monotonic.
        """
        is_same = (
            keys.keys() == self._snapshot.keys.keys()
            and global_epoch == self._snapshot.global_epoch
        )
        self._snapshot = _Snapshot(
            dict(keys),
            {key.typ: key for key in signers},
            global_epoch,
            loaded_at,
            self._snapshot.memory if is_same else _TokenMemory(),
        )

    def is_stale(self, monotonic_now: float) -> bool:
        """Return whether the keys must be reloaded before the next use."""
        return monotonic_now - self._snapshot.loaded_at >= MAX_KEY_AGE_SECONDS

    def list_public_jwks(self, typ: str) -> list[Mapping[str, str]]:
        """List the public keys for one type of token as JWKs."""
        return [key.public_jwk for key in self._snapshot.keys.values() if key.typ == typ]

    @property
    def global_epoch(self) -> int:
        """Return the global epoch that was loaded together with the keys."""
        return self._snapshot.global_epoch

    @property
    def generation(self) -> object:
        """Return an object that changes with the keys and the global epoch.

        Drop what was derived from them when it changes.
        """
        return self._snapshot.memory

    def find_key(self, kid: str) -> SigningKeyPair | None:
        return self._snapshot.keys.get(kid)

    def sign(self, typ: str, claims: Claims) -> str:
        """Sign a compact JWS with the current key for this type of token."""
        signer = self._snapshot.signers.get(typ)
        if signer is None:
            raise RuntimeError(f"no signing key is loaded for {typ}")
        header = {"alg": signer.algorithm, "kid": signer.kid, "typ": typ}
        parts = (json.dumps(part, separators=(",", ":")).encode() for part in (header, claims))
        message = b".".join(map(base64url_encode, parts))
        signature = ALGORITHMS[signer.algorithm].sign(message, signer.private)
        if signer.algorithm == "ES256":
            # ECDSA accepts s and n-s. A token has one encoding, so the smaller one is used.
            s = int.from_bytes(signature[P256_BYTES:])
            low = min(s, P256_ORDER - s)
            signature = signature[:P256_BYTES] + low.to_bytes(P256_BYTES)
        return b".".join((message, base64url_encode(signature))).decode()

    def verify(self, typ: str, token: str, *, is_acceptable: Callable[[Claims], bool]) -> Claims:
        """Return the claims of a token that was signed here. Raises TokenRejected.

        `is_acceptable` checks new claims before their signature, so that an invalid token costs
        no elliptic curve. Check again on every use what changes with time.
        """
        snapshot = self._snapshot
        digest = hashlib.sha256(f"{typ} {token}".encode(errors="surrogatepass")).digest()
        claims = snapshot.memory.find_claims(digest)
        if claims is None:
            claims = self._verify_new(snapshot, typ, token, digest, is_acceptable)
            snapshot.memory.accept(digest, claims)
        return claims

    def _verify_new(
        self,
        snapshot: _Snapshot,
        typ: str,
        token: str,
        digest: bytes,
        is_acceptable: Callable[[Claims], bool],
    ) -> Claims:
        if len(token) > MAX_TOKEN_LENGTH or not TOKEN_PATTERN.fullmatch(token):
            raise TokenRejected("not a compact JWS")
        header_part, payload_part, signature_part = token.split(".")
        header, payload, signature = (
            _parse_header(_decode_base64url(header_part)),
            _decode_base64url(payload_part),
            _decode_base64url(signature_part),
        )
        key = snapshot.keys.get(header["kid"])
        if key is None or header["alg"] != key.algorithm or not header["typ"] == key.typ == typ:
            raise TokenRejected("unknown key, or another type or algorithm")
        claims = _parse_json_object(payload)
        if not is_acceptable(claims):
            raise TokenRejected("unacceptable claims")
        if key.algorithm == "ES256" and _get_s(signature) > P256_ORDER // 2:
            raise TokenRejected("the signature is not in its canonical form")
        if not ALGORITHMS[key.algorithm].verify(
            f"{header_part}.{payload_part}".encode(), key.public, signature
        ):
            snapshot.memory.reject(digest)
            raise TokenRejected("invalid signature")
        return claims


def _make_room(remembered: dict[bytes, Any]) -> None:
    """Forget the oldest entry of a full memory. Threads may do so at the same time."""
    if len(remembered) >= MAX_REMEMBERED:
        with suppress(StopIteration, RuntimeError):
            remembered.pop(next(iter(remembered)), None)


def generate_key_pair(algorithm: str) -> tuple[PrivateKey, dict[str, str]]:
    """Generate a private key and its public key as a JWK (RFC 7517) without `kid`."""
    if algorithm == "ES256":
        curve_key = ec.generate_private_key(ec.SECP256R1())
        return curve_key, json.loads(ECAlgorithm.to_jwk(curve_key.public_key()))
    edwards_key = ed25519.Ed25519PrivateKey.generate()
    return edwards_key, json.loads(OKPAlgorithm.to_jwk(edwards_key.public_key()))


def to_pem(private: PrivateKey) -> bytes:
    """Serialize as PKCS #8. Seal the result before storing it."""
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def from_pem(pem: bytes) -> PrivateKey:
    private = load_pem_private_key(pem, None)
    if not isinstance(private, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise TypeError("unsupported type of signing key")
    return private


def _parse_header(raw: bytes) -> dict[str, str]:
    """Parse the header, which must have exactly the fields that `sign` writes.

    Raises TokenRejected.
    """
    header = _parse_json_object(raw)
    # Only these three names: jku, x5u, jwk, x5c and crit are rejected (RFC 8725 section 3.10).
    if set(header) != HEADER_NAMES or not all(isinstance(value, str) for value in header.values()):
        raise TokenRejected("unexpected header")
    if not KID_PATTERN.fullmatch(header["kid"]):
        raise TokenRejected("malformed kid")
    return header


def _parse_json_object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise TokenRejected("not JSON") from error
    if not isinstance(found, dict):
        raise TokenRejected("not a JSON object")
    return found


def _decode_base64url(part: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise TokenRejected("not base64url") from error
    if base64url_encode(raw).decode() != part:
        raise TokenRejected("the base64url is not in its canonical form")
    return raw


def _get_s(signature: bytes) -> int:
    if len(signature) != 2 * P256_BYTES:
        raise TokenRejected("not an ES256 signature")
    return int.from_bytes(signature[P256_BYTES:])
