"""Logins from another device as their owner and administrators see them, also long after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, literal, or_, select, tuple_

from app import pagination as cursors
from app.accounts.models import Account
from app.authorization.models import ADMIN
from app.credential_status.models import ONLY_ROW, IssuerState
from app.device_login.models import OPEN, LoginSession, State
from app.errors import Forbidden, NotFound
from app.opaque_tokens import is_id
from app.sessions.models import Session, Status

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select

    from app.principal import Principal
    from app.unit_of_work import UnitOfWork

LISTING = "login sessions"
EXPIRED = "expired"
# What may be asked for and is shown: once redeemed, it is in the state of its session.
STATES = (
    *(state for state in State if state is not State.REDEEMED),
    EXPIRED,
    Status.LIVE,
    Status.LOGGED_OUT,
    Status.REVOKED,
)


@dataclass(frozen=True, slots=True)
class With:
    """The session by which somebody claimed or decided, and where that was."""

    session_id: str
    address: str
    device: str


@dataclass(frozen=True, slots=True)
class LoginSessionView:
    """Who asks, from where, for what; what became of it and who had a hand in it."""

    id: str
    state: str
    client_id: str
    client_name: str
    hostname: str | None
    login_message: str | None
    check_phrase: str | None
    scope: str | None
    granted_scope: str | None
    expires_in: int | None
    address: str
    user_agent: str
    account_id: str | None
    created_at: datetime
    expires_at: datetime
    claimed_at: datetime | None
    claimed_with: With | None
    decided_at: datetime | None
    decided_with: With | None
    redeemed_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class LoginSessionPage:
    """Some logins, and where the list goes on."""

    items: Sequence[LoginSessionView]
    next: str | None


def get_login_session(
    work: UnitOfWork, principal: Principal, *, login_session_id: str
) -> LoginSessionView:
    """One that the account has claimed; an administrator sees everybody's. Raises NotFound."""
    wanted = [LoginSession.id == login_session_id]
    if ADMIN not in principal.roles:
        wanted.append(LoginSession.account_id == principal.account_id)
    row = (
        work.db.execute(_rows(work).where(*wanted)).one_or_none()
        if is_id("ses", login_session_id)
        else None
    )
    if row is None:
        raise NotFound
    return _view(row[0], row[1], row[2])


def list_login_sessions(
    work: UnitOfWork,
    principal: Principal,
    *,
    state: str | None = None,
    account_id: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> LoginSessionPage:
    """What the account has claimed, the latest first; an administrator may name another account. Raises Forbidden or InvalidInput."""
    whose = account_id or principal.account_id
    if whose != principal.account_id and ADMIN not in principal.roles:
        raise Forbidden("Only an administrator may see what others have claimed.")
    listing = f"{LISTING} {whose} {state}"
    wanted = [
        LoginSession.account_id == whose,
        *([_state(work) == state] if state is not None else []),
        *_before(work, listing, cursor),
    ]
    latest = (
        _rows(work)
        .where(*wanted)
        .order_by(LoginSession.created_at.desc(), LoginSession.id.desc())
        .limit(limit + 1)
    )
    items = [_view(row, become, opened) for row, become, opened in work.db.execute(latest)]
    return LoginSessionPage(
        items[:limit], _place(work, listing, items[limit - 1]) if len(items) > limit else None
    )


def claimed_by(work: UnitOfWork, account_id: str) -> Sequence[LoginSessionView]:
    """Everything that the account has claimed and that is remembered, the latest first."""
    latest = (
        _rows(work)
        .where(LoginSession.account_id == account_id)
        .order_by(LoginSession.created_at.desc(), LoginSession.id.desc())
    )
    return [_view(row, become, opened) for row, become, opened in work.db.execute(latest)]


def _rows(work: UnitOfWork) -> Select[LoginSession, str, Session]:
    return (
        select(LoginSession, _state(work), Session)
        .select_from(LoginSession)
        .outerjoin(Session, Session.id == LoginSession.id)
        .outerjoin(Account, Account.id == LoginSession.account_id)
        .join(IssuerState, IssuerState.id == ONLY_ROW)
    )


def _state(work: UnitOfWork) -> ColumnElement[str]:
    """What has become of it. Once it is redeemed, its session says so."""
    open_still = LoginSession.state.in_(OPEN)
    other_epoch = or_(
        Session.account_epoch != Account.epoch, Session.global_epoch != IssuerState.global_epoch
    )
    return case(
        (and_(open_still, LoginSession.expires_at <= work.now), literal(EXPIRED)),
        (LoginSession.state != State.REDEEMED, LoginSession.state),
        (Session.status != Status.LIVE, Session.status),
        (or_(Session.idle_until <= work.now, Session.absolute_until <= work.now), literal(EXPIRED)),
        (other_epoch, literal(Status.REVOKED.value)),
        (Session.status == Status.LIVE, literal(Status.LIVE.value)),
        else_=literal(EXPIRED),
    )


def _view(row: LoginSession, state: str, opened: Session | None) -> LoginSessionView:
    return LoginSessionView(
        id=row.id,
        state=state,
        client_id=row.client_id,
        client_name=row.client_name,
        hostname=row.hostname,
        login_message=row.login_message,
        check_phrase=row.check_phrase,
        scope=row.scope,
        granted_scope=row.granted_scope,
        expires_in=row.expires_in,
        address=row.address,
        user_agent=row.user_agent,
        account_id=row.account_id,
        created_at=row.created_at,
        expires_at=row.expires_at,
        claimed_at=row.claimed_at,
        claimed_with=_with(row.claimed_session_id, row.claimed_address, row.claimed_device),
        decided_at=row.decided_at,
        decided_with=_with(row.decided_session_id, row.decided_address, row.decided_device),
        redeemed_at=row.redeemed_at,
        ended_at=_ended_at(row, state, opened),
    )


def _with(session_id: str | None, address: str | None, device: str | None) -> With | None:
    return With(session_id, address or "", device or "") if session_id is not None else None


def _ended_at(row: LoginSession, state: str, opened: Session | None) -> datetime | None:
    if state in {State.DENIED, State.SUSPICIOUS, State.CANCELLED} and opened is None:
        return row.decided_at
    if opened is None:
        return row.expires_at if state == EXPIRED else None
    return opened.ended_at or (opened.ends_at if state == EXPIRED else None)


def _before(work: UnitOfWork, listing: str, cursor: str | None) -> list[ColumnElement[bool]]:
    if cursor is None:
        return []
    moment, _, row_id = cursors.read(work.settings.secret_key, listing, cursor).partition(" ")
    last = literal(datetime.fromisoformat(moment), LoginSession.created_at.type)
    return [tuple_(LoginSession.created_at, LoginSession.id) < tuple_(last, literal(row_id))]


def _place(work: UnitOfWork, listing: str, last: LoginSessionView) -> str:
    return cursors.written(
        work.settings.secret_key, listing, f"{last.created_at.isoformat()} {last.id}"
    )
