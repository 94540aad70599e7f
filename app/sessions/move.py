"""Taking one session along when the account's epoch moves."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.credential_status.models import get_global_epoch
from app.errors import Unauthenticated
from app.sessions.models import Session, format_methods

if TYPE_CHECKING:
    from app.authentication.authenticate import Authenticated
    from app.unit_of_work import UnitOfWork


def move_session_to_new_epoch(
    work: UnitOfWork, authenticated: Authenticated, *, session_id: str
) -> Session:
    """Move a session to the new epoch of its account, with a new salt and the new authentication.

    Every older token of the session stops working, the refresh token too. Raises Unauthenticated if
    it has ended meanwhile.
    """
    account = authenticated.account
    session = work.db.scalar(
        select(Session)
        .where(Session.id == session_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if session is None or not session.is_live(
        work.now, account_epoch=account.epoch - 1, global_epoch=get_global_epoch(work.db)
    ):
        raise Unauthenticated
    session.account_epoch, session.rt_salt = account.epoch, secrets.token_hex(32)
    session.auth_time = authenticated.auth_time
    session.amr = format_methods(session.methods | authenticated.methods)
    work.db.flush()
    return session
