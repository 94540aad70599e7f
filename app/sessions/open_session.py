"""Opening a session for an account whose owner has just shown who he is."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import exists, func, select

from app.audit.record import Event, record_event
from app.authorization.models import ADMIN, list_roles
from app.credential_status.models import ISSUER_STATE_ID, IssuerState
from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email
from app.opaque_tokens import generate_id
from app.sessions.models import Session, SessionStatus
from app.sessions.revoke import revoke_sessions

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, ScalarSelect

    from app.accounts.models import Account
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork

IDLE_TIMEOUT = timedelta(days=14)
DEFAULT_LIFETIME = timedelta(days=30)
# Whoever can do more is asked for the password more often (NIST SP 800-63B-4 section 2.2.3).
ADMIN_IDLE_TIMEOUT = timedelta(hours=1)
ADMIN_MAX_LIFETIME = timedelta(hours=24)
MAX_SESSIONS = 50


@dataclass(frozen=True, slots=True)
class DeviceApproval:
    """A login that somebody approved from another device: it has been a session's id from the start."""

    id: str
    client_id: str
    approving_session_id: str  # the session that approved it


def open_session(
    work: UnitOfWork,
    client_info: ClientInfo,
    account: Account,
    *,
    device_name: str | None,
    lifetime: timedelta | None,
    amr: str,
    scope: str | None = None,
    approval: DeviceApproval | None = None,
) -> Session:
    """A new session. The oldest beyond fifty end, and the owner hears of a login from somewhere new.

    In one that was approved from another device no password was typed, so what asks for a fresh one asks for it there.

    The account's row must be locked, so that two logins at once see each other.
    """
    epoch, live, seen = _load_login_context(work, client_info, account)
    if live >= MAX_SESSIONS:
        _end_oldest(work, client_info, account, keep=MAX_SESSIONS - 1)
    idle = get_idle_timeout(work, account)
    longest = ADMIN_MAX_LIFETIME if idle == ADMIN_IDLE_TIMEOUT else work.settings.session_max_ttl
    absolute = work.now + min(lifetime or DEFAULT_LIFETIME, longest)
    session = Session(
        id=approval.id if approval else generate_id("ses"),
        account_id=account.id,
        account_epoch=account.epoch,
        global_epoch=epoch,
        rt_counter=0,
        rt_salt=secrets.token_hex(32),
        auth_time=None if approval else work.now,
        amr=amr,
        scope=scope,
        client_id=approval.client_id if approval else None,
        approved_by=approval.approving_session_id if approval else None,
        created_at=work.now,
        refreshed_at=work.now,
        idle_until=min(work.now + idle, absolute),
        absolute_until=absolute,
        device_name=device_name,
        user_agent=client_info.user_agent,
        address=client_info.address,
        last_address=client_info.address,
        bucket=client_info.bucket,
    )
    work.db.add(session)
    record_event(
        work,
        Event.LOGIN_SUCCEEDED,
        client_info=client_info,
        account_id=account.id,
        session_id=session.id,
    )
    if not seen:
        _notify_owner(work, account, session)
    return session


def _load_login_context(
    work: UnitOfWork, client_info: ClientInfo, account: Account
) -> tuple[int, int, bool]:
    """The global epoch, how many sessions live, and whether one ever came from there: in one statement."""
    live = select(func.count()).where(*_live(work, account)).scalar_subquery()
    seen = exists().where(
        Session.account_id == account.id,
        Session.bucket == client_info.bucket,
        Session.user_agent == client_info.user_agent,
        Session.status != SessionStatus.SUSPICIOUS,  # a thief who was here before is somebody new
    )
    row = work.db.execute(select(_global_epoch(), live, seen)).one()
    return row[0], row[1], row[2]


def _live(work: UnitOfWork, account: Account) -> tuple[ColumnElement[bool], ...]:
    return (
        Session.account_id == account.id,
        Session.live_clause(work.now, account.epoch, _global_epoch()),
    )


def _global_epoch() -> ScalarSelect[int]:
    return (
        select(IssuerState.global_epoch).where(IssuerState.id == ISSUER_STATE_ID).scalar_subquery()
    )


def _end_oldest(work: UnitOfWork, client_info: ClientInfo, account: Account, *, keep: int) -> None:
    oldest = (
        select(Session.id)
        .where(*_live(work, account))
        .order_by(Session.created_at.desc(), Session.id)
        .offset(keep)
    )
    for session_id in revoke_sessions(
        work, account, oldest, status=SessionStatus.REVOKED, reason="too_many_sessions"
    ):
        record_event(
            work,
            Event.SESSION_ENDED,
            client_info=client_info,
            account_id=account.id,
            session_id=session_id,
            reason="too_many_sessions",
        )


def _notify_owner(work: UnitOfWork, account: Account, session: Session) -> None:
    values = {
        "username": account.username,
        "at": f"{work.now:%Y-%m-%d %H:%M} UTC",
        "address": session.address,
        "device": session.device_label,
    }
    enqueue_email(work, EmailTemplate.NEW_LOGIN, Email(account.email, account.locale, values))


def get_idle_timeout(work: UnitOfWork, account: Account) -> timedelta:
    """How long a session of the account may go without being refreshed."""
    return ADMIN_IDLE_TIMEOUT if ADMIN in list_roles(work.db, account) else IDLE_TIMEOUT
