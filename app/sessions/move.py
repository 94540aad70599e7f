"""Taking one session along when the account's epoch moves."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.credential_status.models import get_global_epoch
from app.errors import Unauthenticated
from app.sessions.models import Session

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.unit_of_work import UnitOfWork


def move_session_to_new_epoch(work: UnitOfWork, account: Account, *, session_id: str) -> Session:
    """The session, in the account's new epoch. Every token it had is over, the refresh token too: it gets another salt.

    The owner has just shown the password. The account must be locked. Raises Unauthenticated when the session ended meanwhile.
    """
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
    if session.auth_time is None:
        session.amr += " pwd"
    session.account_epoch, session.rt_salt, session.auth_time = (
        account.epoch,
        secrets.token_hex(32),
        work.now,
    )
    work.db.flush()
    return session
