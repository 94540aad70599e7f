"""Sessions and accounts as their owner sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts.models import by_id as account_by_id
from app.accounts.summary import Profile, profile
from app.errors import NotFound, Unauthenticated
from app.opaque_tokens import is_id
from app.sessions.models import Session, Status, of_account

if TYPE_CHECKING:
    from app.principal import Principal
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session without its secrets."""

    id: str
    current: bool
    status: str
    device_name: str | None
    user_agent: str
    address: str
    last_address: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Me:
    """Everything a frontend shows of whoever is signed in."""

    account: Profile
    session: SessionView
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    resources: Mapping[str, str]


def list_sessions(work: UnitOfWork, principal: Principal) -> list[SessionView]:
    """The live sessions of the account, newest first; there are at most fifty."""
    rows = work.db.scalars(
        select(Session)
        .where(
            Session.account_id == principal.account_id,
            Session.status == Status.LIVE,
            Session.idle_until > work.now,
            Session.absolute_until > work.now,
        )
        .order_by(Session.created_at.desc(), Session.id)
    )
    return [view(row, principal, work.now) for row in rows]


def get_session(work: UnitOfWork, principal: Principal, *, session_id: str) -> SessionView:
    """One session of one's own, also when it is over. Raises NotFound."""
    row = of_account(work.db, principal.account_id, session_id) if is_id("ses", session_id) else None
    if row is None:
        raise NotFound
    return view(row, principal, work.now)


def get_me(work: UnitOfWork, principal: Principal) -> Me:
    """The account and the session that ask."""
    account = account_by_id(work.db, principal.account_id)
    if account is None:
        raise Unauthenticated
    session = get_session(work, principal, session_id=principal.session_id)
    return Me(profile(account), session, principal.roles, principal.scopes, work.settings.resources)


def view(row: Session, principal: Principal, now: datetime) -> SessionView:
    expired = row.status == Status.LIVE and row.ends_at <= now
    return SessionView(
        id=row.id,
        current=row.id == principal.session_id,
        status="expired" if expired else row.status,
        device_name=row.device_name,
        user_agent=row.user_agent,
        address=row.address,
        last_address=row.last_address,
        created_at=row.created_at,
        last_used_at=row.refreshed_at,
        expires_at=row.ends_at,
        ended_at=row.ended_at,
        reason=row.reason,
    )
