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

from app.adapters import secret_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.sessions.models import Session

VERSION = "dwr1"
SHAPE = re.compile(
    rf"{VERSION}\.([a-z2-7]{{8}})\.(ses_[0-9A-Za-z]{{22}})\.(0|[1-9][0-9]{{0,8}})\.[A-Za-z0-9_-]{{43}}"
)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a refresh token says of itself, before the mac was checked."""

    key_name: str
    session_id: str
    counter: int


def read(token: str) -> Claimed | None:
    """What the token claims, None when it is none of ours: junk needs no read."""
    parts = SHAPE.fullmatch(token)
    return Claimed(parts[1], parts[2], int(parts[3])) if parts else None


def looks_like_a_refresh_token(text: str) -> bool:
    """Is it meant as one? Whether it is any good is not asked here."""
    return text.startswith(f"{VERSION}.")


def mint(keys: Sequence[str], session: Session) -> str:
    """The token of the session's present counter; the same each time."""
    return _signed(keys[0], session.rt_salt, session.id, session.rt_counter)


def genuine(keys: Sequence[str], token: str, claimed: Claimed, session: Session) -> bool:
    """Did we make it? In constant time, under the key it names."""
    key = secret_key.find_key_by_id(keys, claimed.key_name)
    return key is not None and secret_key.compare_digests(
        token, _signed(key, session.rt_salt, session.id, claimed.counter)
    )


def _signed(key: str, salt: str, session_id: str, counter: int) -> str:
    body = f"{VERSION}.{secret_key.compute_key_id(key)}.{session_id}.{counter}"
    mac = hmac.new(
        secret_key.derive_key(key, sealing.KeyPurpose.REFRESH, bytes.fromhex(salt)),
        body.encode(),
        hashlib.sha256,
    ).digest()
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
