"""JSON Web Tokens by PyJWT and cryptography: the key ring, and a signature check that takes one spelling only.

Only the signature is judged here. Claims are judged by the gateway against `work.now`: PyJWT would read a clock of its own.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm

MAX_TOKEN_LENGTH = 4096
TOKEN_PATTERN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
KID_PATTERN = re.compile(r"[A-Za-z0-9_-]{8,64}")
HEADER_NAMES = {"alg", "kid", "typ"}
# PyJWT's own decode would read everything a second time, letter by letter, and judge times by a clock of its own. What is
# strict here is ours; what is cryptography is the library's.
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
    """The token is none that we signed, or is not spelled as we spelled it."""


@dataclass(frozen=True, slots=True)
class SigningKeyPair:
    """A signing key ready for use. The private half never shows in a repr."""

    kid: str
    typ: str  # of the only kind of token it signs
    algorithm: str
    public_jwk: Mapping[str, str]
    private: PrivateKey = field(repr=False)
    public: PublicKey = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "public", self.private.public_key())


@dataclass(frozen=True, slots=True)
class _Snapshot:
    keys: Mapping[str, SigningKeyPair]
    signers: Mapping[str, SigningKeyPair]
    global_epoch: int
    loaded_at: float


class SigningKeySet:
    """The keys this process signs and verifies with; signing_keys fills it, and swaps its contents in one step."""

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
        """All keys that verify, and of them those that sign now, one for each kind of token."""
        self._snapshot = _Snapshot(
            dict(keys), {key.typ: key for key in signers}, global_epoch, loaded_at
        )

    def get_age_seconds(self, monotonic_now: float) -> float:
        """Seconds since the keys were read."""
        return monotonic_now - self._snapshot.loaded_at

    def list_public_jwks(self, typ: str) -> list[Mapping[str, str]]:
        """The public halves of the keys for one kind of token, as JWKS lists them."""
        return [key.public_jwk for key in self._snapshot.keys.values() if key.typ == typ]

    @property
    def global_epoch(self) -> int:
        """The issuer's epoch, read together with the keys."""
        return self._snapshot.global_epoch

    def find_key(self, kid: str) -> SigningKeyPair | None:
        return self._snapshot.keys.get(kid)

    def sign(self, typ: str, claims: Claims) -> str:
        """A compact JWS under the key that signs this kind of token now."""
        signer = self._snapshot.signers.get(typ)
        if signer is None:
            raise RuntimeError(f"the key ring holds no key that signs {typ}")
        token = jwt.encode(
            claims,
            signer.private,
            algorithm=signer.algorithm,
            headers={"typ": typ, "kid": signer.kid},
        )
        return token if signer.algorithm != "ES256" else _normalize_s(token)

    def verify(self, typ: str, token: str) -> Claims:
        """The claims of a token that we signed. Raises TokenRejected for everything else, a second spelling included."""
        if len(token) > MAX_TOKEN_LENGTH or not TOKEN_PATTERN.fullmatch(token):
            raise TokenRejected("not a compact JWS")
        header_part, payload_part, signature_part = token.split(".")
        header, payload, signature = (
            _parse_header(_decode_base64url(header_part)),
            _decode_base64url(payload_part),
            _decode_base64url(signature_part),
        )
        key = self._snapshot.keys.get(header["kid"])
        if key is None or header["alg"] != key.algorithm or not header["typ"] == key.typ == typ:
            raise TokenRejected("not a kind of token we sign")
        if key.algorithm == "ES256" and _get_s(signature) > P256_ORDER // 2:
            raise TokenRejected("a second spelling of a signature")
        if not ALGORITHMS[key.algorithm].verify(
            f"{header_part}.{payload_part}".encode(), key.public, signature
        ):
            raise TokenRejected("the signature does not fit")
        return _parse_json_object(payload)


def generate_key_pair(algorithm: str) -> tuple[PrivateKey, dict[str, str]]:
    """A private key and its public half as a JWK (RFC 7517), without kid."""
    if algorithm == "ES256":
        curve_key = ec.generate_private_key(ec.SECP256R1())
        return curve_key, json.loads(ECAlgorithm.to_jwk(curve_key.public_key()))
    edwards_key = ed25519.Ed25519PrivateKey.generate()
    return edwards_key, json.loads(OKPAlgorithm.to_jwk(edwards_key.public_key()))


def to_pem(private: PrivateKey) -> bytes:
    """PKCS #8, to be sealed before it is kept."""
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def from_pem(pem: bytes) -> PrivateKey:
    private = load_pem_private_key(pem, None)
    if not isinstance(private, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise TypeError("a signing key of a kind we never make")
    return private


def _parse_header(raw: bytes) -> dict[str, str]:
    """The header; only what we write ourselves may be in it. Raises TokenRejected."""
    header = _parse_json_object(raw)
    # Exactly our three names: jku, x5u, jwk, x5c and crit (RFC 8725 section 3.10) are refused by not being there.
    if set(header) != HEADER_NAMES or not all(isinstance(value, str) for value in header.values()):
        raise TokenRejected("the header is not ours")
    if not KID_PATTERN.fullmatch(header["kid"]):
        raise TokenRejected("the kid is not ours")
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
    if _encode_base64url(raw) != part:
        raise TokenRejected("a second spelling of base64url")
    return raw


def _encode_base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _get_s(signature: bytes) -> int:
    if len(signature) != 2 * P256_BYTES:
        raise TokenRejected("not an ES256 signature")
    return int.from_bytes(signature[P256_BYTES:])


def _normalize_s(token: str) -> str:
    """(r, s) and (r, n-s) both verify under ECDSA; we write and take the smaller one, so a token has one spelling."""
    message, _, signature = token.rpartition(".")
    raw = _decode_base64url(signature)
    s = int.from_bytes(raw[P256_BYTES:])
    low = min(s, P256_ORDER - s)
    return f"{message}.{_encode_base64url(raw[:P256_BYTES] + low.to_bytes(P256_BYTES))}"
