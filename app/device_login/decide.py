"""Approving and denying: only by the account that claimed it, and once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from app.accounts.models import find_account as account_by_id
from app.audit.record import Event, record_event
from app.authentication.throttling.code_attempts import count_code_attempt, refund_code_attempt
from app.authentication.throttling.suspicious_sources import (
    flag_suspicious_source as suspect_source,
)
from app.authorization.scopes import intersect_limits
from app.device_login.codes import compute_user_code_digests
from app.device_login.errors import DeviceLoginClosed, UnknownUserCode
from app.device_login.models import DeviceLogin, DeviceLoginState, find_device_login
from app.device_login.show import DeviceLoginView, get_device_login
from app.errors import NotFound, Unauthenticated
from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email
from app.opaque_tokens import is_id
from app.sessions.models import find_account_session
from app.sessions.show import get_device_label

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def approve_device_login(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    *,
    device_login_id: str,
    user_code: str,
) -> DeviceLoginView:
    """Let the other device in, with what it asked for as far as the session that approves may do it.

    The code is compared once more: a link that somebody sent cannot approve. Whoever calls this has just shown who he is.
    Raises NotFound, LoginSessionOver, UnknownUserCode or TooManyRequests.
    """
    row = _require_claimed(work, principal, device_login_id)
    guess = count_code_attempt(work, account_id=principal.account_id, bucket=client_info.bucket)
    fits = DeviceLogin.user_code_digest.in_(compute_user_code_digests(work.settings, user_code))
    values = {
        "approved_epoch": principal.epoch,
        "granted_scope": _compute_granted_scope(work, principal, row),
    }
    if not _decide(work, principal, client_info, row, DeviceLoginState.APPROVED, fits, **values):
        _require_undecided(work, row)
        record_event(
            work,
            Event.USER_CODE_REFUSED,
            client_info=client_info,
            account_id=principal.account_id,
            session_id=row.id,
        )
        raise work.keep(UnknownUserCode())
    refund_code_attempt(work, guess)
    record_event(
        work,
        Event.DEVICE_LOGIN_APPROVED,
        client_info=client_info,
        account_id=principal.account_id,
        session_id=row.id,
    )
    return get_device_login(work, principal, device_login_id=row.id)


def deny_device_login(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, device_login_id: str
) -> DeviceLoginView:
    """Refuse. Raises NotFound or LoginSessionOver."""
    row = _require_claimed(work, principal, device_login_id)
    if not _decide(work, principal, client_info, row, DeviceLoginState.DENIED):
        raise DeviceLoginClosed
    record_event(
        work,
        Event.DEVICE_LOGIN_DENIED,
        client_info=client_info,
        account_id=principal.account_id,
        session_id=row.id,
    )
    return get_device_login(work, principal, device_login_id=row.id)


def report_device_login(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, device_login_id: str
) -> DeviceLoginView:
    """Refuse what somebody else has asked for: its source may ask only now and then, and the owner has it in writing.

    Raises NotFound or LoginSessionOver.
    """
    row = _require_claimed(work, principal, device_login_id)
    if not _decide(work, principal, client_info, row, DeviceLoginState.SUSPICIOUS):
        raise DeviceLoginClosed
    suspect_source(work, session_id=row.id, bucket=row.bucket)
    _email_owner(work, principal, row)
    record_event(
        work,
        Event.DEVICE_LOGIN_SUSPICIOUS,
        client_info=client_info,
        account_id=principal.account_id,
        session_id=row.id,
    )
    return get_device_login(work, principal, device_login_id=row.id)


def _require_claimed(work: UnitOfWork, principal: Principal, device_login_id: str) -> DeviceLogin:
    """One that this account has claimed, whatever became of it. Raises NotFound."""
    row = find_device_login(work.db, device_login_id) if is_id("ses", device_login_id) else None
    if row is None or row.account_id != principal.account_id:
        raise NotFound
    return row


def _decide(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    row: DeviceLogin,
    state: DeviceLoginState,
    *also: ColumnElement[bool],
    **values: object,
) -> bool:
    """One statement decides which of many decisions counts."""
    by = {
        "decided_at": work.now,
        "decided_session_id": principal.session_id,
        "decided_address": client_info.address,
        "decided_device": get_device_label(work, principal),
    }
    mine = (
        DeviceLogin.account_id == principal.account_id,
        DeviceLogin.state == DeviceLoginState.CLAIMED,
        DeviceLogin.expires_at > work.now,
    )
    taken = (
        update(DeviceLogin)
        .where(DeviceLogin.id == row.id, *mine, *also)
        .values(state=state, user_code_digest=None, **by, **values)
        .returning(DeviceLogin.id)
        .execution_options(synchronize_session=False)
    )
    decided = work.db.scalar(taken) is not None
    work.db.refresh(row)
    return decided


def _require_undecided(work: UnitOfWork, row: DeviceLogin) -> None:
    """Was it the code, or had somebody been quicker? Raises LoginSessionOver."""
    if row.state != DeviceLoginState.CLAIMED or not row.is_open(work.now):
        raise DeviceLoginClosed


def _compute_granted_scope(work: UnitOfWork, principal: Principal, row: DeviceLogin) -> str | None:
    """Never more than was asked for, than the client may have, nor than the session that approves; None is whatever its owner may."""
    session = find_account_session(work.db, principal.account_id, principal.session_id)
    if session is None:
        raise Unauthenticated
    limit = principal.scopes if session.scope is not None or row.scope is not None else None
    return intersect_limits(row.scope.split() if row.scope is not None else None, limit)


def _email_owner(work: UnitOfWork, principal: Principal, row: DeviceLogin) -> None:
    account = account_by_id(work.db, principal.account_id)
    if account is None:
        raise Unauthenticated
    values = {
        "username": account.username,
        "client": row.client_name,
        "at": f"{row.created_at:%Y-%m-%d %H:%M} UTC",
        "address": row.address,
        "agent": row.user_agent or "unknown",
    }
    enqueue_email(
        work, EmailTemplate.SUSPICIOUS_LOGIN, Email(account.email, account.locale, values)
    )
