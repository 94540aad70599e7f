"""Who is signed in on our own pages: the same check of the session as every other credential gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import Unauthenticated
from app.sessions.page_cookies import find_session_by_page_cookie
from app.verification.session_tokens import verify_session

if TYPE_CHECKING:
    from app.principal import Principal
    from app.unit_of_work import UnitOfWork


def verify_page_cookie(work: UnitOfWork, cookie: str) -> Principal:
    """Whose page cookie this is. Raises Unauthenticated when it is none, is over, or another one has taken its place."""
    with work.open_autocommit_session() as db:
        session = find_session_by_page_cookie(db, work.settings.secret_key, cookie)
    if session is None:
        raise Unauthenticated
    return verify_session(work, session)
