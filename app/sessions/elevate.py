"""Typing the password once more, for what asks for a fresh one (RFC 9470)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import case, update

from app.accounts.models import lock_account
from app.adapters.database import count_changed_rows
from app.audit.record import Event, record_event
from app.authentication.errors import WrongPassword
from app.authentication.passwords.verify import (
    apply_success,
    check_password,
    verify_again_and_apply_success,
)
from app.authentication.throttling.password_attempts import count_attempt
from app.credential_status.models import get_global_epoch
from app.errors import Unauthenticated
from app.sessions.log_in import require_password_change
from app.sessions.models import Session, find_account_session
from app.sessions.update import IssuedAccessToken, issue_access_token

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def elevate(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, password: str
) -> IssuedAccessToken:
    """The session's password was typed just now: it goes on with the token returned, and older tokens of it stay as old as they are.

    Raises WrongPassword, PasswordChangeRequired, TooManyRequests, Unauthenticated or Busy.
    """
    account = _prove(work, principal, client_info, password)
    if account.must_change_password:
        raise work.keep(require_password_change(work, client_info, account))
    if not _update_auth_time(work, account, principal.session_id):
        raise Unauthenticated
    session = find_account_session(work.db, account.id, principal.session_id)
    if session is None:
        raise Unauthenticated
    record_event(
        work,
        Event.SESSION_ELEVATED,
        client_info=client_info,
        account_id=account.id,
        session_id=session.id,
    )
    return issue_access_token(work, account, session, thing=None, max_expires_at=None)


def _prove(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, password: str
) -> Account:
    """The account that asks, locked, once the password was right. Counted like every other try."""
    account = lock_account(work.db, principal.account_id)
    if account is None:
        raise Unauthenticated
    attempt = count_attempt(work, subject=account.id, bucket=client_info.bucket)
    checked = check_password(work, attempt, account, password)
    unchanged = {"status": account.status}
    if checked is None or not (
        apply_success(work, checked, changes=unchanged)
        or verify_again_and_apply_success(work, checked, password, changes=unchanged)
    ):
        event = Event.PASSWORD_REFUSED if attempt.is_allowed else Event.PASSWORD_LOCKED
        record_event(
            work,
            event,
            client_info=client_info,
            account_id=account.id,
            session_id=principal.session_id,
        )
        raise work.keep(WrongPassword())
    return checked.account


def _update_auth_time(work: UnitOfWork, account: Account, session_id: str) -> bool:
    """One statement decides whether the session still lives and takes the time down."""
    return bool(
        count_changed_rows(
            work.db,
            update(Session)
            .where(
                Session.id == session_id,
                Session.account_id == account.id,
                Session.live_clause(work.now, account.epoch, get_global_epoch(work.db)),
            )
            .values(
                auth_time=work.now,
                amr=case((Session.auth_time.is_(None), Session.amr + " pwd"), else_=Session.amr),
            )
            .execution_options(synchronize_session=False),
        )
    )
