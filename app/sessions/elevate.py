"""Step-up: authenticate again within a session (RFC 9470)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from app.audit.record import Event, record_event
from app.authentication.authenticate import PresentedPassword, authenticate, lock_signed_in_user
from app.credential_status.models import get_global_epoch
from app.errors import Unauthenticated
from app.sessions.log_in import require_no_password_change
from app.sessions.models import Session, find_account_session, format_methods
from app.sessions.update import IssuedAccessToken, issue_access_token

if TYPE_CHECKING:
    from app.authentication.authenticate import Authenticated
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def elevate(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, password: str
) -> IssuedAccessToken:
    """Record that the user has authenticated now and issue an access token that says so.

    Older tokens keep their auth_time. Raises WrongPassword, PasswordChangeRequired,
    TooManyRequests, Unauthenticated or Busy.
    """
    user = lock_signed_in_user(work, principal)
    authenticated = authenticate(work, client_info, user, PresentedPassword(password))
    account = authenticated.account
    require_no_password_change(work, client_info, account)
    session = _update_session(work, authenticated, principal.session_id)
    record_event(
        work,
        Event.SESSION_ELEVATED,
        client_info=client_info,
        account_id=account.id,
        session_id=session.id,
    )
    return issue_access_token(work, account, session, ref=None, max_expires_at=None)


def _update_session(work: UnitOfWork, authenticated: Authenticated, session_id: str) -> Session:
    """Store time and methods in the session, provided that it is live. Raises Unauthenticated."""
    account = authenticated.account
    session = find_account_session(work.db, account.id, session_id)
    if session is None:
        raise Unauthenticated
    epoch = get_global_epoch(work.db)
    live = Session.live_clause(work.now, account.epoch, epoch)
    elevated = work.db.scalar(
        update(Session)
        .where(Session.id == session.id, live)
        .values(
            auth_time=authenticated.auth_time,
            amr=format_methods(session.methods | authenticated.methods),
        )
        .returning(Session)
        .execution_options(populate_existing=True, synchronize_session=False)
    )
    if elevated is None:
        raise Unauthenticated
    return elevated
