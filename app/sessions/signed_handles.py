"""Refresh tokens and page cookies: signed handles that the database does not store.

A handle is `<version>.<key id>.<session id>.<number>.<MAC>`. The MAC key is derived from SECRET_KEY
and the session's salt, so a copy of the database or of the settings alone is not enough to forge a
handle, and a new salt invalidates every handle of the session.

The number of a refresh token is the session's counter: the current token can be built again for a
client that lost the response. The number of a page cookie is the session's authentication time: a
step-up invalidates the cookies before it. Only pages accept page cookies.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from enum import Enum
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

REFRESH_TOKEN_VERSION = "dwr1"  # noqa: S105 - the first part of a token
PAGE_COOKIE_VERSION = "dwp1"


class HandleKind(Enum):
    """The kinds of handles: version, purpose of the MAC key, pattern of the number."""

    REFRESH_TOKEN = (REFRESH_TOKEN_VERSION, encryption.KeyPurpose.REFRESH, "0|[1-9][0-9]{0,8}")
    PAGE_COOKIE = (PAGE_COOKIE_VERSION, encryption.KeyPurpose.PAGE_COOKIES, "[1-9][0-9]{0,11}")

    def __init__(self, version: str, purpose: encryption.KeyPurpose, number: str) -> None:
        self.version = version
        self.purpose = purpose
        self.pattern = re.compile(
            rf"{version}\.([a-z2-7]{{8}})\.(ses_[0-9A-Za-z]{{22}})\.({number})\.[A-Za-z0-9_-]{{43}}"
        )


@dataclass(frozen=True, slots=True)
class HandleClaims:
    """The parts of a handle whose MAC is not verified yet."""

    key_id: str
    session_id: str
    number: int


def has_refresh_token_prefix(text: str) -> bool:
    """Return whether the text is meant as a refresh token, valid or not."""
    return text.startswith(f"{REFRESH_TOKEN_VERSION}.")


def build_refresh_token(keys: Sequence[str], session: Session) -> str:
    """Build the current refresh token of the session; the same one on every call."""
    return _build_handle(HandleKind.REFRESH_TOKEN, keys[0], session, session.rt_counter)


def parse_refresh_token(token: str) -> HandleClaims | None:
    """Return the parts of a refresh token, or None if it is malformed."""
    return _parse_handle(HandleKind.REFRESH_TOKEN, token)


def is_genuine_refresh_token(
    keys: Sequence[str], token: str, claims: HandleClaims, session: Session
) -> bool:
    """Return whether the token was issued for the session."""
    return _is_genuine(HandleKind.REFRESH_TOKEN, keys, token, claims, session)


def find_session_by_refresh_token(
    db: Db, keys: Sequence[str], token: str
) -> tuple[Session, int] | None:
    """Find the session of a genuine refresh token, live or not, and the token's counter."""
    return _find_session_by_handle(HandleKind.REFRESH_TOKEN, db, keys, token)


def build_page_cookie(work: UnitOfWork, *, session_id: str) -> str:
    """Build the cookie of a session.

    Raises Unauthenticated when no password was ever entered in it.
    """
    session = find_session(work.db, session_id)
    if session is None or session.auth_time is None:
        raise Unauthenticated
    return _build_handle(
        HandleKind.PAGE_COOKIE, work.settings.secret_key[0], session, _to_seconds(session.auth_time)
    )


def find_session_by_page_cookie(db: Db, keys: Sequence[str], cookie: str) -> Session | None:
    """Find the session of a genuine, current page cookie, live or not."""
    found = _find_session_by_handle(HandleKind.PAGE_COOKIE, db, keys, cookie)
    if found is None:
        return None
    session, auth_time = found
    is_current = session.auth_time is not None and _to_seconds(session.auth_time) == auth_time
    return session if is_current else None


def _find_session_by_handle(
    kind: HandleKind, db: Db, keys: Sequence[str], handle: str
) -> tuple[Session, int] | None:
    claims = _parse_handle(kind, handle)
    session = find_session(db, claims.session_id) if claims else None
    if claims is None or session is None:
        return None
    return (session, claims.number) if _is_genuine(kind, keys, handle, claims, session) else None


def _parse_handle(kind: HandleKind, handle: str) -> HandleClaims | None:
    """Parse a handle, so that malformed input costs no query."""
    parts = kind.pattern.fullmatch(handle)
    return HandleClaims(parts[1], parts[2], int(parts[3])) if parts else None


def _is_genuine(
    kind: HandleKind, keys: Sequence[str], handle: str, claims: HandleClaims, session: Session
) -> bool:
    """Verify the MAC in constant time, under the secret key that the handle names."""
    key = encryption.find_key_by_id(keys, claims.key_id)
    return key is not None and encryption.compare_digests(
        handle, _build_handle(kind, key, session, claims.number)
    )


def _build_handle(kind: HandleKind, key: str, session: Session, number: int) -> str:
    body = f"{kind.version}.{encryption.compute_key_id(key)}.{session.id}.{number}"
    mac_key = encryption.derive_key(key, kind.purpose, bytes.fromhex(session.rt_salt))
    mac = hmac.new(mac_key, body.encode(), hashlib.sha256).digest()
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def _to_seconds(moment: datetime) -> int:
    return int(moment.timestamp())
