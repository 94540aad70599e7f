"""Refresh tokens: v.kid.sid.counter.mac, signed and counted, nothing stored for each.

The mac's key comes from SECRET_KEY and the session's salt together, so that neither a copy of the database nor one of
the settings is enough to forge a token; and the present token can be issued again, for a client that lost the answer.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.adapters import encryption

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.sessions.models import Session

VERSION = "dwr1"
SHAPE = re.compile(
    rf"{VERSION}\.([a-z2-7]{{8}})\.(ses_[0-9A-Za-z]{{22}})\.(0|[1-9][0-9]{{0,8}})\.[A-Za-z0-9_-]{{43}}"
)


@dataclass(frozen=True, slots=True)
class RefreshTokenClaims:
    """What a refresh token says of itself, before the mac was checked."""

    key_name: str
    session_id: str
    counter: int


def parse_refresh_token(token: str) -> RefreshTokenClaims | None:
    """What the token claims, None when it is none of ours: junk needs no read."""
    parts = SHAPE.fullmatch(token)
    return RefreshTokenClaims(parts[1], parts[2], int(parts[3])) if parts else None


def has_refresh_token_prefix(text: str) -> bool:
    """Is it meant as one? Whether it is any good is not asked here."""
    return text.startswith(f"{VERSION}.")


def build_refresh_token(keys: Sequence[str], session: Session) -> str:
    """The token of the session's present counter; the same each time."""
    return _sign(keys[0], session.rt_salt, session.id, session.rt_counter)


def is_genuine(
    keys: Sequence[str], token: str, claimed: RefreshTokenClaims, session: Session
) -> bool:
    """Did we make it? In constant time, under the key it names."""
    key = encryption.find_key_by_id(keys, claimed.key_name)
    return key is not None and encryption.compare_digests(
        token, _sign(key, session.rt_salt, session.id, claimed.counter)
    )


def _sign(key: str, salt: str, session_id: str, counter: int) -> str:
    body = f"{VERSION}.{encryption.compute_key_id(key)}.{session_id}.{counter}"
    mac = hmac.new(
        encryption.derive_key(key, encryption.KeyPurpose.REFRESH, bytes.fromhex(salt)),
        body.encode(),
        hashlib.sha256,
    ).digest()
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
