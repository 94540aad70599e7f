"""Show device login requests to the account that claimed them and to administrators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, literal, or_, select, tuple_

from app import pagination as cursors
from app.accounts.models import Account
from app.authorization.models import ADMIN
from app.credential_status.models import ISSUER_STATE_ID, IssuerState
from app.device_login.models import OPEN_STATES, DeviceLogin, DeviceLoginState
from app.errors import Forbidden, NotFound
from app.opaque_tokens import is_id
from app.sessions.models import Session, SessionStatus

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Select

    from app.principal import Principal
    from app.unit_of_work import UnitOfWork

CURSOR_CONTEXT = "login sessions"
EXPIRED_STATE = "expired"
# The states that are shown and can be filtered by. A redeemed request has the state of its session.
VISIBLE_STATES = (
    *(state for state in DeviceLoginState if state is not DeviceLoginState.REDEEMED),
    EXPIRED_STATE,
    SessionStatus.LIVE,
    SessionStatus.LOGGED_OUT,
    SessionStatus.REVOKED,
)


@dataclass(frozen=True, slots=True)
class ActingSession:
    """The session that claimed or decided a request, and its IP address."""

    session_id: str
    address: str
    device: str


@dataclass(frozen=True, slots=True)
class DeviceLoginView:
    """A device login request, and how it was claimed, decided and redeemed."""

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
    claimed_with: ActingSession | None
    decided_at: datetime | None
    decided_with: ActingSession | None
    redeemed_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeviceLoginPage:
    """A page of device login requests and the cursor of the next page."""

    items: Sequence[DeviceLoginView]
    next: str | None


def get_device_login(
    work: UnitOfWork, principal: Principal, *, device_login_id: str
) -> DeviceLoginView:
    """Return a request that the account claimed. Administrators can see every request.

    Raises NotFound.
    """
    wanted = [DeviceLogin.id == device_login_id]
    if ADMIN not in principal.roles:
        wanted.append(DeviceLogin.account_id == principal.account_id)
    row = (
        work.db.execute(_select_device_logins(work).where(*wanted)).one_or_none()
        if is_id("ses", device_login_id)
        else None
    )
    if row is None:
        raise NotFound
    return _build_view(row[0], row[1], row[2])


def list_device_logins(
    work: UnitOfWork,
    principal: Principal,
    *,
    state: str | None = None,
    account_id: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> DeviceLoginPage:
    """List the requests that the account claimed, newest first.

    Administrators may name another account. Raises Forbidden or InvalidInput.
    """
    owner_id = account_id or principal.account_id
    if owner_id != principal.account_id and ADMIN not in principal.roles:
        raise Forbidden("Only administrators can list the device logins of other accounts.")
    listing = f"{CURSOR_CONTEXT} {owner_id} {state}"
    wanted = [
        DeviceLogin.account_id == owner_id,
        *([_build_state_expression(work) == state] if state is not None else []),
        *_build_cursor_conditions(work, listing, cursor),
    ]
    latest = (
        _select_device_logins(work)
        .where(*wanted)
        .order_by(DeviceLogin.created_at.desc(), DeviceLogin.id.desc())
        .limit(limit + 1)
    )
    items = [_build_view(row, state, session) for row, state, session in work.db.execute(latest)]
    return DeviceLoginPage(
        items[:limit],
        _encode_cursor(work, listing, items[limit - 1]) if len(items) > limit else None,
    )


def list_claimed_device_logins(work: UnitOfWork, account_id: str) -> Sequence[DeviceLoginView]:
    """List every stored request that the account claimed, newest first."""
    latest = (
        _select_device_logins(work)
        .where(DeviceLogin.account_id == account_id)
        .order_by(DeviceLogin.created_at.desc(), DeviceLogin.id.desc())
    )
    return [_build_view(row, state, session) for row, state, session in work.db.execute(latest)]


def _select_device_logins(work: UnitOfWork) -> Select[DeviceLogin, str, Session]:
    return (
        select(DeviceLogin, _build_state_expression(work), Session)
        .select_from(DeviceLogin)
        .outerjoin(Session, Session.id == DeviceLogin.id)
        .outerjoin(Account, Account.id == DeviceLogin.account_id)
        .join(IssuerState, IssuerState.id == ISSUER_STATE_ID)
    )


def _build_state_expression(work: UnitOfWork) -> ColumnElement[str]:
    """Build the expression of the shown state: the session's state once the request is redeemed."""
    is_open = DeviceLogin.state.in_(OPEN_STATES)
    is_live = Session.live_clause(work.now, Account.epoch, IssuerState.global_epoch)
    return case(
        (and_(is_open, DeviceLogin.expires_at <= work.now), literal(EXPIRED_STATE)),
        (DeviceLogin.state != DeviceLoginState.REDEEMED, DeviceLogin.state),
        (is_live, literal(SessionStatus.LIVE.value)),
        (Session.status != SessionStatus.LIVE, Session.status),
        (or_(Session.id.is_(None), Session.expired_clause(work.now)), literal(EXPIRED_STATE)),
        else_=literal(SessionStatus.REVOKED.value),  # an older epoch of the account or the issuer
    )


def _build_view(row: DeviceLogin, state: str, opened: Session | None) -> DeviceLoginView:
    return DeviceLoginView(
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
        claimed_with=_build_acting_session(
            row.claimed_session_id, row.claimed_address, row.claimed_device
        ),
        decided_at=row.decided_at,
        decided_with=_build_acting_session(
            row.decided_session_id, row.decided_address, row.decided_device
        ),
        redeemed_at=row.redeemed_at,
        ended_at=_find_end(row, state, opened),
    )


def _build_acting_session(
    session_id: str | None, address: str | None, device: str | None
) -> ActingSession | None:
    return (
        ActingSession(session_id, address or "", device or "") if session_id is not None else None
    )


def _find_end(row: DeviceLogin, state: str, opened: Session | None) -> datetime | None:
    if (
        state in {DeviceLoginState.DENIED, DeviceLoginState.SUSPICIOUS, DeviceLoginState.CANCELLED}
        and opened is None
    ):
        return row.decided_at
    if opened is None:
        return row.expires_at if state == EXPIRED_STATE else None
    return opened.ended_at or (opened.expires_at if state == EXPIRED_STATE else None)


def _build_cursor_conditions(
    work: UnitOfWork, listing: str, cursor: str | None
) -> list[ColumnElement[bool]]:
    if cursor is None:
        return []
    moment, _, row_id = cursors.decode_cursor(work.settings.secret_key, listing, cursor).partition(
        " "
    )
    last = literal(datetime.fromisoformat(moment), DeviceLogin.created_at.type)
    return [tuple_(DeviceLogin.created_at, DeviceLogin.id) < tuple_(last, literal(row_id))]


def _encode_cursor(work: UnitOfWork, listing: str, last: DeviceLoginView) -> str:
    return cursors.encode_cursor(
        work.settings.secret_key, listing, f"{last.created_at.isoformat()} {last.id}"
    )
