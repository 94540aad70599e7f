"""Logging out of sessions, and revoking one, all others or those of past epochs."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from app.accounts.models import Account, find_account, lock_account
from app.adapters.statements import count_changed_rows
from app.audit.record import Event, record_event
from app.credential_status.models import get_global_epoch
from app.credential_status.revocations import record_account_revocation, record_session_revocations
from app.errors import NotFound, Unauthenticated
from app.opaque_tokens import is_id
from app.sessions.models import Session, SessionStatus, find_account_session, format_methods

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select

    from app.authentication.authenticate import Authenticated
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def log_out(work: UnitOfWork, principal: Principal, client_info: ClientInfo) -> None:
    """Log out of the current session. Its tokens are rejected from the next request on."""
    account = _get_account(work, principal)
    revoke_sessions(
        work, account, [principal.session_id], status=SessionStatus.LOGGED_OUT, reason="logout"
    )
    record_event(
        work,
        Event.SESSION_ENDED,
        client_info=client_info,
        account_id=account.id,
        session_id=principal.session_id,
        reason="logout",
    )


def log_out_everywhere(work: UnitOfWork, principal: Principal, client_info: ClientInfo) -> None:
    """Log out of every session of the account by advancing its epoch."""
    account = lock_account(work.db, principal.account_id)
    if account is None:
        raise Unauthenticated
    account.epoch += 1
    ended = revoke_past_epoch_sessions(
        work, account, status=SessionStatus.LOGGED_OUT, reason="logout_all"
    )
    record_event(
        work,
        Event.SESSIONS_ENDED,
        client_info=client_info,
        account_id=account.id,
        session_id=principal.session_id,
        reason="logout_all",
        count=ended,
    )


def revoke_session(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, session_id: str
) -> None:
    """Revoke a session of the account. Raises NotFound, also for a session of another account."""
    session = (
        find_account_session(work.db, principal.account_id, session_id)
        if is_id("ses", session_id)
        else None
    )
    if session is None:
        raise NotFound
    account = _get_account(work, principal)
    if revoke_sessions(
        work, account, [session.id], status=SessionStatus.REVOKED, reason="ended_by_owner"
    ):
        record_event(
            work,
            Event.SESSION_ENDED,
            client_info=client_info,
            account_id=account.id,
            session_id=session.id,
            reason="ended_by_owner",
        )


def revoke_other_sessions(work: UnitOfWork, principal: Principal, client_info: ClientInfo) -> None:
    """Revoke every session of the account except the current one."""
    # The account is locked before its sessions, in the same order as by a password change.
    account = lock_account(work.db, principal.account_id)
    if account is None:
        raise Unauthenticated
    others = select(Session.id).where(
        Session.account_id == account.id,
        Session.status == SessionStatus.LIVE,
        Session.id != principal.session_id,
    )
    ended = revoke_sessions(
        work, account, others, status=SessionStatus.REVOKED, reason="ended_by_owner"
    )
    record_event(
        work,
        Event.SESSIONS_ENDED,
        client_info=client_info,
        account_id=account.id,
        session_id=principal.session_id,
        reason="others",
        count=len(ended),
    )


def revoke_past_epoch_sessions(
    work: UnitOfWork, account: Account, *, status: SessionStatus, reason: str
) -> int:
    """End the sessions of older epochs of the account, and with them every token issued before.

    Returns the number of sessions.
    """
    ended = count_changed_rows(
        work.db,
        update(Session)
        .where(
            Session.account_id == account.id,
            Session.status == SessionStatus.LIVE,
            Session.account_epoch != account.epoch,
        )
        .values(status=status, ended_at=work.now, reason=reason)
        .execution_options(synchronize_session=False),
    )
    record_account_revocation(work, account)
    return ended


def revoke_sessions(
    work: UnitOfWork,
    account: Account,
    session_ids: Sequence[str] | Select[str],
    *,
    status: SessionStatus,
    reason: str,
) -> Sequence[str]:
    """End the sessions among `session_ids` that have not ended, and record a revocation for each.

    The condition is the stored status, not Session.live_clause: a session that has just expired is
    marked too, because its access tokens are accepted for the leeway. Returns the ids of the ended
    sessions.
    """
    ended = work.db.scalars(
        update(Session)
        .where(
            Session.id.in_(session_ids),
            Session.account_id == account.id,
            Session.status == SessionStatus.LIVE,
        )
        .values(status=status, ended_at=work.now, reason=reason)
        .returning(Session.id)
        .execution_options(synchronize_session=False)
    ).all()
    record_session_revocations(work, account, ended)
    return ended


def move_session_to_new_epoch(
    work: UnitOfWork, authenticated: Authenticated, *, session_id: str
) -> Session:
    """Move a session to the new epoch of its account, with a new salt and the new authentication.

    Every older token of the session stops working, the refresh token too. The account must be
    locked. Raises Unauthenticated if the session has ended meanwhile.
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


def _get_account(work: UnitOfWork, principal: Principal) -> Account:
    account = find_account(work.db, principal.account_id)
    if account is None:
        raise Unauthenticated
    return account
