"""The cookie by which our own pages know who is signed in. It is no token: nothing but a page takes it.

It names its session and when the password was typed there. The mac is under the session's own salt: it ends with the session,
with a change of the password, and with the next time the password is typed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.adapters import encryption
from app.errors import Unauthenticated
from app.sessions.models import find_session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session as Db

    from app.sessions.models import Session
    from app.unit_of_work import UnitOfWork

VERSION = "dwp1"
SHAPE = re.compile(
    rf"{VERSION}\.([a-z2-7]{{8}})\.(ses_[0-9A-Za-z]{{22}})\.([1-9][0-9]{{0,11}})\.[A-Za-z0-9_-]{{43}}"
)


@dataclass(frozen=True, slots=True)
class PageCookieClaims:
    """What a cookie says of itself, before the mac was checked."""

    key_name: str
    session_id: str
    auth_time: int  # seconds since 1970


def parse_page_cookie(cookie: str) -> PageCookieClaims | None:
    """What the cookie claims, None when it is none of ours: junk needs no read."""
    parts = SHAPE.fullmatch(cookie)
    return PageCookieClaims(parts[1], parts[2], int(parts[3])) if parts else None


def build_page_cookie(work: UnitOfWork, *, session_id: str) -> str:
    """The cookie of a session in which the password has just been typed. Raises Unauthenticated where none ever was."""
    session = find_session(work.db, session_id)
    if session is None or session.auth_time is None:
        raise Unauthenticated
    return _sign(
        work.settings.secret_key[0], session.rt_salt, session.id, _to_seconds(session.auth_time)
    )


def find_session_by_page_cookie(db: Db, secret_keys: Sequence[str], cookie: str) -> Session | None:
    """The session that a genuine cookie is of, live or not. None also where the password was typed again since."""
    claimed = parse_page_cookie(cookie)
    session = find_session(db, claimed.session_id) if claimed else None
    if claimed is None or session is None or not _is_genuine(secret_keys, cookie, claimed, session):
        return None
    return (
        session
        if session.auth_time is not None and _to_seconds(session.auth_time) == claimed.auth_time
        else None
    )


def _is_genuine(
    keys: Sequence[str], cookie: str, claimed: PageCookieClaims, session: Session
) -> bool:
    """Did we make it? In constant time, under the key it names."""
    key = encryption.find_key_by_id(keys, claimed.key_name)
    return key is not None and encryption.compare_digests(
        cookie, _sign(key, session.rt_salt, session.id, claimed.auth_time)
    )


def _to_seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _sign(key: str, salt: str, session_id: str, auth_time: int) -> str:
    body = f"{VERSION}.{encryption.compute_key_id(key)}.{session_id}.{auth_time}"
    mac = hmac.new(
        encryption.derive_key(key, encryption.KeyPurpose.PAGE_COOKIES, bytes.fromhex(salt)),
        body.encode(),
        hashlib.sha256,
    ).digest()
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
