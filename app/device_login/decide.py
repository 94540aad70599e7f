"""Approve, deny or report a device login request: once, by the account that claimed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from app.accounts.models import find_account
from app.audit.record import Event, record_event
from app.authentication.throttling.code_attempts import count_code_attempt, refund_code_attempt
from app.authentication.throttling.suspicious_sources import flag_suspicious_source
from app.authorization.rights import intersect_limits
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
    """Approve a request. Its scope is limited to that of the approving session.

    The user code is verified again, so that a link from an attacker cannot approve. The caller
    requires recent authentication. Raises NotFound, DeviceLoginClosed, UnknownUserCode or
    TooManyRequests.
    """
    row = _require_claimed(work, principal, device_login_id)
    attempt = count_code_attempt(work, account_id=principal.account_id, bucket=client_info.bucket)
    has_code = DeviceLogin.user_code_digest.in_(compute_user_code_digests(work.settings, user_code))
    values = {
        "approved_epoch": principal.epoch,
        "granted_scope": _compute_granted_scope(work, principal, row),
    }
    if not _decide(
        work, principal, client_info, row, DeviceLoginState.APPROVED, has_code, **values
    ):
        _require_undecided(work, row)
        _record(work, Event.USER_CODE_REFUSED, principal, client_info, row)
        raise work.keep(UnknownUserCode())
    refund_code_attempt(work, attempt)
    _record(work, Event.DEVICE_LOGIN_APPROVED, principal, client_info, row)
    return get_device_login(work, principal, device_login_id=row.id)


def deny_device_login(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, device_login_id: str
) -> DeviceLoginView:
    """Deny a request. Raises NotFound or DeviceLoginClosed."""
    row = _require_claimed(work, principal, device_login_id)
    if not _decide(work, principal, client_info, row, DeviceLoginState.DENIED):
        raise DeviceLoginClosed
    _record(work, Event.DEVICE_LOGIN_DENIED, principal, client_info, row)
    return get_device_login(work, principal, device_login_id=row.id)


def report_device_login(
    work: UnitOfWork, principal: Principal, client_info: ClientInfo, *, device_login_id: str
) -> DeviceLoginView:
    """Deny a request that someone else made, limit its source and email the user.

    Raises NotFound or DeviceLoginClosed.
    """
    row = _require_claimed(work, principal, device_login_id)
    if not _decide(work, principal, client_info, row, DeviceLoginState.SUSPICIOUS):
        raise DeviceLoginClosed
    flag_suspicious_source(work, session_id=row.id, bucket=row.bucket)
    _email_owner(work, principal, row)
    _record(work, Event.DEVICE_LOGIN_SUSPICIOUS, principal, client_info, row)
    return get_device_login(work, principal, device_login_id=row.id)


def _require_claimed(work: UnitOfWork, principal: Principal, device_login_id: str) -> DeviceLogin:
    """Return a request that this account claimed, in any state. Raises NotFound."""
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
    *conditions: ColumnElement[bool],
    **values: object,
) -> bool:
    """Decide a request in one statement, so that only the first decision succeeds."""
    decision = {
        "decided_at": work.now,
        "decided_session_id": principal.session_id,
        "decided_address": client_info.address,
        "decided_device": get_device_label(work, principal),
    }
    is_undecided = (
        DeviceLogin.account_id == principal.account_id,
        DeviceLogin.state == DeviceLoginState.CLAIMED,
        DeviceLogin.expires_at > work.now,
    )
    statement = (
        update(DeviceLogin)
        .where(DeviceLogin.id == row.id, *is_undecided, *conditions)
        .values(state=state, user_code_digest=None, **decision, **values)
        .returning(DeviceLogin.id)
        .execution_options(synchronize_session=False)
    )
    has_decided = work.db.scalar(statement) is not None
    work.db.refresh(row)
    return has_decided


def _require_undecided(work: UnitOfWork, row: DeviceLogin) -> None:
    """Raise DeviceLoginClosed unless the request can still be decided."""
    if row.state != DeviceLoginState.CLAIMED or not row.is_open(work.now):
        raise DeviceLoginClosed


def _compute_granted_scope(work: UnitOfWork, principal: Principal, row: DeviceLogin) -> str | None:
    """Limit the requested scope to that of the approving session.

    None grants everything that the account may do. Raises Unauthenticated.
    """
    session = find_account_session(work.db, principal.account_id, principal.session_id)
    if session is None:
        raise Unauthenticated
    limit = principal.scopes if session.scope is not None or row.scope is not None else None
    return intersect_limits(row.scope.split() if row.scope is not None else None, limit)


def _record(
    work: UnitOfWork, event: Event, principal: Principal, client_info: ClientInfo, row: DeviceLogin
) -> None:
    record_event(
        work, event, client_info=client_info, account_id=principal.account_id, session_id=row.id
    )


def _email_owner(work: UnitOfWork, principal: Principal, row: DeviceLogin) -> None:
    account = find_account(work.db, principal.account_id)
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
