"""Reporting a session as suspicious, and withdrawing the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from app.accounts.models import lock_account
from app.adapters.statements import count_changed_rows
from app.audit.record import Event, record_event
from app.authentication.throttling.suspicious_sources import (
    flag_suspicious_source,
    unflag_suspicious_source,
)
from app.authorization.models import ADMIN
from app.authorization.roles.administrators import is_still_admin
from app.errors import NotFound
from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email
from app.opaque_tokens import is_id
from app.sessions.errors import SessionNotSuspicious
from app.sessions.models import Session, SessionStatus, find_account_session, find_session
from app.sessions.recent_authentication import require_recent_authentication
from app.sessions.revoke import revoke_sessions

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork

REPORTED, CLEARED = "reported", "cleared"


def report_suspicious_session(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, session_id: str
) -> None:
    """Revoke a session as suspicious, restrict its source for a day and notify its owner by email.

    Users report sessions of their own account; administrators with a recent authentication report
    any. A session that has ended can be reported too. A second report changes nothing, and after a
    withdrawn report no second email is sent. Raises NotFound or ReauthenticationRequired.
    """
    account, session = _get_locked(work, principal, session_id)
    was_notified = session.reason == CLEARED
    if not _mark_suspicious(work, account, session):
        return
    flag_suspicious_source(work, session_id=session.id, bucket=session.bucket)
    actor = principal.account_id
    record_event(
        work,
        Event.SESSION_SUSPICIOUS,
        client_info=client_info,
        account_id=account.id,
        session_id=session.id,
        actor=actor,
        reason=REPORTED,
    )
    if not was_notified:
        _notify_owner(work, account, session, by_owner=actor == account.id)


def clear_suspicious_session(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, session_id: str
) -> None:
    """Withdraw the report of a session: it stays revoked, but its source is no longer restricted.

    The caller must have required a recent authentication. Raises NotFound or SessionNotSuspicious.
    """
    account, session = _get_locked(work, principal, session_id)
    cleared = count_changed_rows(
        work.db,
        update(Session)
        .where(Session.id == session.id, Session.status == SessionStatus.SUSPICIOUS)
        .values(status=SessionStatus.REVOKED, reason=CLEARED)
        .execution_options(synchronize_session=False),
    )
    if not cleared:
        raise SessionNotSuspicious
    unflag_suspicious_source(work, session_id=session.id)
    actor = principal.account_id
    record_event(
        work,
        Event.SESSION_CLEARED,
        client_info=client_info,
        account_id=account.id,
        session_id=session.id,
        actor=actor,
    )


def _get_locked(work: UnitOfWork, principal: Principal, session_id: str) -> tuple[Account, Session]:
    """Lock the account of the session. Raises NotFound or ReauthenticationRequired."""
    own = (
        find_account_session(work.db, principal.account_id, session_id)
        if is_id("ses", session_id)
        else None
    )
    session = own or _get_as_admin(work, principal, session_id)
    account = lock_account(work.db, session.account_id)
    if account is None:
        raise NotFound
    work.db.refresh(session)
    return account, session


def _get_as_admin(work: UnitOfWork, principal: Principal, session_id: str) -> Session:
    """Return a session of any account to an administrator.

    Others get NotFound, whether it exists or not.
    """
    if ADMIN not in principal.roles:
        raise NotFound
    require_recent_authentication(principal, work.now)
    if not is_still_admin(work.db, principal.account_id):
        raise NotFound
    session = find_session(work.db, session_id) if is_id("ses", session_id) else None
    if session is None:
        raise NotFound
    return session


def _mark_suspicious(work: UnitOfWork, account: Account, session: Session) -> bool:
    """Mark the session as suspicious and end it if it is live.

    Returns False if it was suspicious before.
    """
    if revoke_sessions(
        work, account, [session.id], status=SessionStatus.SUSPICIOUS, reason=REPORTED
    ):
        return True
    has_ended = Session.status.not_in([SessionStatus.LIVE, SessionStatus.SUSPICIOUS])
    return bool(
        count_changed_rows(
            work.db,
            update(Session)
            .where(Session.id == session.id, has_ended)
            .values(status=SessionStatus.SUSPICIOUS, reason=REPORTED)
            .execution_options(synchronize_session=False),
        )
    )


def _notify_owner(work: UnitOfWork, account: Account, session: Session, *, by_owner: bool) -> None:
    values = {
        "username": account.username,
        "device": session.device_label,
        "begun": f"{session.created_at:%Y-%m-%d %H:%M} UTC",
        "address": session.address,
        "by": "owner" if by_owner else "administrator",
    }
    enqueue_email(
        work, EmailTemplate.REPORTED_SESSION, Email(account.email, account.locale, values)
    )
