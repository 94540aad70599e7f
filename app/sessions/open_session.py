"""Opening a session for a user who has authenticated."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Integer, bindparam, exists, func, select

from app.adapters.database import UtcDateTime
from app.adapters.statements import PreparedStatement, insert_row, prepare_insert
from app.audit.record import Event, record_event
from app.authorization.models import ADMIN
from app.authorization.rights import list_roles
from app.credential_status.models import ISSUER_STATE_ID, IssuerState
from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email
from app.opaque_tokens import generate_id
from app.sessions.models import Session, SessionStatus, format_methods
from app.sessions.revoke import revoke_sessions

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import ReturnsRows

    from app.accounts.models import Account
    from app.authentication.authenticate import Authenticated
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork

IDLE_TIMEOUT = timedelta(days=14)
DEFAULT_LIFETIME = timedelta(days=30)
# Administrators authenticate more often (NIST SP 800-63B-4 section 2.2.3).
ADMIN_IDLE_TIMEOUT = timedelta(hours=1)
ADMIN_MAX_LIFETIME = timedelta(hours=24)
MAX_SESSIONS = 50


@dataclass(frozen=True, slots=True)
class DeviceApproval:
    """The device login that a session continues. The session keeps its id."""

    session_id: str
    client_id: str
    approved_by: str  # the session that approved it


@dataclass(frozen=True, slots=True)
class _LoginContext:
    global_epoch: int
    live_sessions: int
    is_known_source: bool


def open_session(
    work: UnitOfWork,
    client_info: ClientInfo,
    authenticated: Authenticated,
    *,
    device_name: str | None,
    lifetime: timedelta | None,
    scope: str | None = None,
    approval: DeviceApproval | None = None,
) -> Session:
    """Open a session.

    The oldest sessions beyond fifty are revoked, and a login from a new source is emailed to the
    user.
    """
    account = authenticated.account
    context = _load_login_context(work, client_info, account)
    if context.live_sessions >= MAX_SESSIONS:
        _revoke_oldest(work, client_info, account, context)
    session = _build_session(work, client_info, authenticated, context.global_epoch, lifetime)
    session.device_name = device_name
    session.scope = scope
    if approval is not None:
        session.id = approval.session_id
        session.client_id = approval.client_id
        session.approved_by = approval.approved_by
    insert_row(work.db, INSERT_SESSION, session)
    record_event(
        work,
        Event.LOGIN_SUCCEEDED,
        client_info=client_info,
        account_id=account.id,
        session_id=session.id,
    )
    if not context.is_known_source:
        _notify_owner(work, account, session)
    return session


def _build_session(
    work: UnitOfWork,
    client_info: ClientInfo,
    authenticated: Authenticated,
    global_epoch: int,
    lifetime: timedelta | None,
) -> Session:
    account = authenticated.account
    idle_until, absolute_until = _compute_expiry(work, account, lifetime)
    return Session(
        id=generate_id("ses"),
        account_id=account.id,
        account_epoch=account.epoch,
        global_epoch=global_epoch,
        status=SessionStatus.LIVE,
        rt_counter=0,
        rt_salt=secrets.token_hex(32),
        auth_time=authenticated.auth_time,
        amr=format_methods(authenticated.methods),
        created_at=work.now,
        refreshed_at=work.now,
        idle_until=idle_until,
        absolute_until=absolute_until,
        user_agent=client_info.user_agent,
        address=client_info.address,
        last_address=client_info.address,
        bucket=client_info.bucket,
    )


def get_idle_timeout(work: UnitOfWork, account: Account) -> timedelta:
    """Return how long a session of the account lasts without being refreshed."""
    return ADMIN_IDLE_TIMEOUT if ADMIN in list_roles(work.db, account) else IDLE_TIMEOUT


def _compute_expiry(
    work: UnitOfWork, account: Account, lifetime: timedelta | None
) -> tuple[datetime, datetime]:
    """Return when the session expires without a refresh, and when it expires in any case."""
    idle_timeout = get_idle_timeout(work, account)
    is_admin = idle_timeout == ADMIN_IDLE_TIMEOUT
    max_lifetime = ADMIN_MAX_LIFETIME if is_admin else work.settings.session_max_ttl
    absolute_until = work.now + min(lifetime or DEFAULT_LIFETIME, max_lifetime)
    return min(work.now + idle_timeout, absolute_until), absolute_until


def _load_login_context(
    work: UnitOfWork, client_info: ClientInfo, account: Account
) -> _LoginContext:
    """Load all that a login needs to know about other sessions, in one statement."""
    parameters = {
        "now": work.now,
        "account_id": account.id,
        "account_epoch": account.epoch,
        "bucket": client_info.bucket,
        "user_agent": client_info.user_agent,
    }
    found = LOAD_LOGIN_CONTEXT.execute(work.db, parameters).mappings().one()
    return _LoginContext(found["epoch"], found["live"], bool(found["known"]))


def _build_login_context(_dialect: str) -> ReturnsRows:
    owner = Session.account_id == bindparam("account_id")
    epoch = (
        select(IssuerState.global_epoch).where(IssuerState.id == ISSUER_STATE_ID).scalar_subquery()
    )
    now = bindparam("now", type_=UtcDateTime)
    live = Session.live_clause(now, bindparam("account_epoch", type_=Integer), epoch)
    known = exists().where(
        owner,
        Session.bucket == bindparam("bucket"),
        Session.user_agent == bindparam("user_agent"),
        Session.status != SessionStatus.SUSPICIOUS,  # a thief's earlier session makes nothing known
    )
    count = select(func.count()).where(owner, live).scalar_subquery()
    return select(epoch.label("epoch"), count.label("live"), known.label("known"))


LOAD_LOGIN_CONTEXT = PreparedStatement(_build_login_context)
INSERT_SESSION = prepare_insert(Session)


def _revoke_oldest(
    work: UnitOfWork, client_info: ClientInfo, account: Account, context: _LoginContext
) -> None:
    live = Session.live_clause(work.now, account.epoch, context.global_epoch)
    oldest = (
        select(Session.id)
        .where(Session.account_id == account.id, live)
        .order_by(Session.created_at.desc(), Session.id)
        .offset(MAX_SESSIONS - 1)
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
