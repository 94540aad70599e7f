"""Who is signed in on our own pages: the same check of the session as every other credential gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.errors import Unauthenticated
from app.gateway.verify import living
from app.principal import Kind, Principal
from app.sessions.access_tokens import scopes_of_session, shown_roles
from app.sessions.page_cookies import session_of_cookie

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork


def verify_page_cookie(work: UnitOfWork, cookie: str) -> Principal:
    """Whose page cookie this is. Raises Unauthenticated when it is none, is over, or another one has taken its place."""
    with work.aside() as db:
        session = session_of_cookie(db, work.settings.secret_key, cookie)
    if session is None:
        raise Unauthenticated
    found = living(work, session.id, epoch=session.account_epoch)
    return Principal(
        account_id=found.account_id,
        username=found.username,
        kind=Kind.SESSION,
        session_id=session.id,
        expires_at=session.ends_at,
        auth_time=found.auth_time,
        scopes=scopes_of_session(work, session, found.roles),
        roles=shown_roles(session, found.roles),
        epoch=found.present_account_epoch,
    )
