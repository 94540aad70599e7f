"""Answer the polls of a device, once with tokens (RFC 8628 sections 3.4 and 3.5)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from app.accounts.models import Account, lock_account
from app.adapters.statements import count_changed_rows
from app.audit.record import Event, record_event
from app.authentication.authenticate import SECOND_CHANNEL, Authenticated
from app.credential_status.models import get_global_epoch
from app.device_login.codes import find_by_device_code
from app.device_login.errors import AccessDenied, AuthorizationPending, ExpiredToken, SlowDown
from app.device_login.models import DeviceLogin, DeviceLoginState
from app.device_login.start import POLL_INTERVAL_SECONDS
from app.rate_limits.count import count_request
from app.sessions.errors import InvalidGrant
from app.sessions.models import SessionStatus, find_account_session
from app.sessions.open_session import DeviceApproval, open_session
from app.sessions.public_clients import DEFAULT_CLIENT_ID
from app.sessions.tokens import SessionTokens, issue_tokens

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork

INTERVAL_STEP_SECONDS = 5  # added by each early poll, subtracted by each timely one
MAX_INTERVAL_SECONDS = 60
POLL_TOLERANCE = timedelta(seconds=1)  # network delays vary
MAX_DEVICE_NAME_LENGTH = 64


def redeem_device_code(
    work: UnitOfWork, client_info: ClientInfo, *, client_id: str | None, device_code: str
) -> SessionTokens:
    """Return the tokens of an approved request, once. Until it is approved, each call is a poll.

    Raises AuthorizationPending, SlowDown, AccessDenied, ExpiredToken, InvalidGrant or
    TooManyRequests.
    """
    count_request(work, client_info, "poll")
    row = find_by_device_code(work.db, device_code)
    if (
        row is None
        or row.client_id != (client_id or DEFAULT_CLIENT_ID)
        or row.state == DeviceLoginState.REDEEMED
    ):
        raise InvalidGrant(
            "The device code is unknown or was already used. Start a new device login."
        )
    if row.state in {DeviceLoginState.DENIED, DeviceLoginState.SUSPICIOUS}:
        raise AccessDenied
    if not row.is_open(work.now):
        raise ExpiredToken
    if row.state == DeviceLoginState.APPROVED:
        return _open_approved_session(work, client_info, row)
    _enforce_poll_interval(work, row)
    raise work.keep(AuthorizationPending())


def _enforce_poll_interval(work: UnitOfWork, row: DeviceLogin) -> None:
    """Record a poll and lengthen the interval if it came too early. Raises SlowDown."""
    last_poll = select(DeviceLogin.polled_at, DeviceLogin.interval).where(DeviceLogin.id == row.id)
    polled_at, interval = work.db.execute(last_poll.with_for_update()).one()
    is_early = (
        polled_at is not None
        and work.now - polled_at < timedelta(seconds=interval) - POLL_TOLERANCE
    )
    interval = (
        min(interval + INTERVAL_STEP_SECONDS, MAX_INTERVAL_SECONDS)
        if is_early
        else max(interval - INTERVAL_STEP_SECONDS, POLL_INTERVAL_SECONDS)
    )
    work.db.execute(
        update(DeviceLogin)
        .where(DeviceLogin.id == row.id)
        .values(polled_at=work.now, interval=interval)
        .execution_options(synchronize_session=False)
    )
    if is_early:
        raise work.keep(SlowDown(interval))


def _open_approved_session(
    work: UnitOfWork, client_info: ClientInfo, row: DeviceLogin
) -> SessionTokens:
    """Open the session if the approval is still valid. Raises AccessDenied or InvalidGrant."""
    account = lock_account(work.db, row.account_id or "")
    if account is None or not _is_approval_valid(work, account, row):
        _expire_approval(work, client_info, row)
        raise work.keep(AccessDenied())
    if not _update_approved(work, row, state=DeviceLoginState.REDEEMED, redeemed_at=work.now):
        raise InvalidGrant("The device code was already used. Start a new device login.")
    name = f"{row.client_name} on {row.hostname}" if row.hostname else row.client_name
    approval = DeviceApproval(row.id, row.client_id, approved_by=row.decided_session_id or "")
    lifetime = timedelta(seconds=row.expires_in) if row.expires_in is not None else None
    session = open_session(
        work,
        client_info,
        # No credential was presented on this device, so the session starts without an
        # authentication time.
        Authenticated(account, frozenset({SECOND_CHANNEL}), auth_time=None),
        device_name=name[:MAX_DEVICE_NAME_LENGTH],
        lifetime=lifetime,
        scope=row.granted_scope,
        approval=approval,
    )
    record_event(
        work,
        Event.DEVICE_LOGIN_REDEEMED,
        client_info=client_info,
        account_id=account.id,
        session_id=row.id,
    )
    return issue_tokens(work, account, session)


def _is_approval_valid(work: UnitOfWork, account: Account, row: DeviceLogin) -> bool:
    """Return whether the approval still counts.

    Disabling the account, a password change, logging out everywhere and revoking the approving
    session each void the approval. Logging out of that session does not.
    """
    # Not Session.live_clause: the approving session may have logged out or expired since then.
    approver = find_account_session(work.db, account.id, row.decided_session_id or "")
    return (
        account.is_active
        and not account.must_change_password
        and account.epoch == row.approved_epoch
        and approver is not None
        and approver.status in {SessionStatus.LIVE, SessionStatus.LOGGED_OUT}
        and approver.global_epoch == get_global_epoch(work.db)
    )


def _expire_approval(work: UnitOfWork, client_info: ClientInfo, row: DeviceLogin) -> None:
    """Expire a request whose approval is void, and record that once."""
    if _update_approved(work, row, expires_at=work.now):
        record_event(
            work,
            Event.DEVICE_LOGIN_REFUSED,
            client_info=client_info,
            account_id=row.account_id,
            session_id=row.id,
        )


def _update_approved(work: UnitOfWork, row: DeviceLogin, **values: object) -> bool:
    """Update the request if it is still approved. Of concurrent polls, one succeeds."""
    approved = (
        DeviceLogin.id == row.id,
        DeviceLogin.state == DeviceLoginState.APPROVED,
        DeviceLogin.expires_at > work.now,
    )
    return (
        count_changed_rows(
            work.db,
            update(DeviceLogin)
            .where(*approved)
            .values(**values)
            .execution_options(synchronize_session=False),
        )
        == 1
    )
