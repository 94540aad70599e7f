"""Ending sessions: one, all others, all of an account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from app.accounts.models import Account, find_account, lock_account
from app.adapters.statements import count_changed_rows
from app.audit.record import Event, record_event
from app.credential_status.revocations import record_account_revocation, record_session_revocations
from app.errors import NotFound, Unauthenticated
from app.opaque_tokens import is_id
from app.sessions.models import Session, SessionStatus, find_account_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Select

    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def log_out(work: UnitOfWork, principal: Principal, client_info: ClientInfo) -> None:
    """End the session that asks; its tokens stop at once."""
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
    """End every session of the account by moving its epoch."""
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
    """End one session of one's own. Raises NotFound, also for a session of somebody else."""
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
    """End every session of the account but the one that asks."""
    # Held before its sessions, as by a change of the password, which takes them in another order.
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
    """End what is still of an older epoch of the account, and every token with it. Returns how many sessions that were."""
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
    """End those of these sessions that live, each with its revocation row. Returns which those were."""
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


def _get_account(work: UnitOfWork, principal: Principal) -> Account:
    account = find_account(work.db, principal.account_id)
    if account is None:
        raise Unauthenticated
    return account
