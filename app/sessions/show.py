"""The sessions of an account and the signed-in account, as API and pages show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts.models import find_account
from app.accounts.summary import Profile, build_profile
from app.credential_status.models import get_global_epoch
from app.errors import NotFound, Unauthenticated
from app.opaque_tokens import is_id
from app.sessions.models import Session, SessionStatus, find_account_session

if TYPE_CHECKING:
    from app.principal import Principal
    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class SessionDetails:
    """A session as shown to its user, without secrets."""

    id: str
    current: bool
    status: str
    device_name: str | None
    client_id: str
    approved_by: str | None
    user_agent: str
    address: str
    last_address: str
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class CurrentAccount:
    """The signed-in account, its current session and its rights."""

    account: Profile
    session: SessionDetails
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    resources: Mapping[str, str]


def list_sessions(work: UnitOfWork, principal: Principal) -> list[SessionDetails]:
    """List the live sessions of the account, newest first; there are at most fifty."""
    account_epoch, issuer_epoch = _get_epochs(work, principal)
    rows = work.db.scalars(
        select(Session)
        .where(
            Session.account_id == principal.account_id,
            Session.live_clause(work.now, account_epoch, issuer_epoch),
        )
        .order_by(Session.created_at.desc(), Session.id)
    )
    return [_build_details(row, principal, SessionStatus.LIVE) for row in rows]


def list_all_sessions(work: UnitOfWork, principal: Principal) -> list[SessionDetails]:
    """List every stored session of the account, ended ones included, newest first."""
    epochs = _get_epochs(work, principal)
    rows = work.db.scalars(
        select(Session)
        .where(Session.account_id == principal.account_id)
        .order_by(Session.created_at.desc(), Session.id)
    )
    return [_build_details(row, principal, _get_status(work, row, epochs)) for row in rows]


def get_session(work: UnitOfWork, principal: Principal, *, session_id: str) -> SessionDetails:
    """Return a session of the account, live or ended. Raises NotFound."""
    row = (
        find_account_session(work.db, principal.account_id, session_id)
        if is_id("ses", session_id)
        else None
    )
    if row is None:
        raise NotFound
    return _build_details(row, principal, _get_status(work, row, _get_epochs(work, principal)))


def get_current_account(work: UnitOfWork, principal: Principal) -> CurrentAccount:
    """Return the signed-in account and its session. Raises Unauthenticated or NotFound."""
    account = find_account(work.db, principal.account_id)
    if account is None:
        raise Unauthenticated
    session = get_session(work, principal, session_id=principal.session_id)
    return CurrentAccount(
        build_profile(account), session, principal.roles, principal.scopes, work.settings.resources
    )


def get_device_label(work: UnitOfWork, principal: Principal) -> str:
    """Return the name under which the current session is shown to its user."""
    row = find_account_session(work.db, principal.account_id, principal.session_id)
    return row.device_label if row is not None else "unknown"


def _get_epochs(work: UnitOfWork, principal: Principal) -> tuple[int, int]:
    """Return the current epochs of account and issuer. Raises Unauthenticated."""
    account = find_account(work.db, principal.account_id)
    if account is None:
        raise Unauthenticated
    return account.epoch, get_global_epoch(work.db)


def _get_status(work: UnitOfWork, row: Session, epochs: tuple[int, int]) -> str:
    """Return the status to show. A stored LIVE session may have expired."""
    if row.status != SessionStatus.LIVE:
        return row.status
    if row.expires_at <= work.now:
        return "expired"
    return (
        SessionStatus.LIVE
        if (row.account_epoch, row.global_epoch) == epochs
        else SessionStatus.REVOKED
    )


def _build_details(row: Session, principal: Principal, status: str) -> SessionDetails:
    return SessionDetails(
        id=row.id,
        current=row.id == principal.session_id,
        status=status,
        device_name=row.device_name,
        client_id=row.effective_client_id,
        approved_by=row.approved_by,
        user_agent=row.user_agent,
        address=row.address,
        last_address=row.last_address,
        created_at=row.created_at,
        last_used_at=row.refreshed_at,
        expires_at=row.expires_at,
        ended_at=row.ended_at,
        reason=row.reason,
    )
