"""Logging in with a password."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from app.accounts.find import lock_account_by_identifier, parse_identifier
from app.audit.record import Event, record_event
from app.authentication.passwords.verify import (
    apply_success,
    check_password,
    verify_again_and_apply_success,
)
from app.authentication.throttling.password_attempts import wait_for_attempts_in_flight
from app.authentication.trusted_devices.manage import trust_device
from app.authentication.trusted_devices.recognize import count_password_attempt
from app.authorization.models import list_roles
from app.authorization.scopes import list_scopes, narrow_scopes
from app.confirmations.reset import issue_reset_token
from app.rate_limits.errors import AttemptsInFlight
from app.sessions.errors import InvalidCredentials, PasswordChangeRequired
from app.sessions.open_session import open_session
from app.sessions.tokens import SessionTokens, issue_tokens

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork


MAX_WAIT_SECONDS = 1.0  # seconds to wait for tries of the same moment


def log_in(
    work: UnitOfWork,
    client_info: ClientInfo,
    *,
    username: str,
    password: str,
    device_name: str | None = None,
    device_token: str | None = None,
    remember_device: bool = False,
    expires_in: int | None = None,
    scope: str | None = None,
) -> SessionTokens:
    """Open a session for whoever knows a name or address and its password.

    `expires_in` asks for another length of the session in seconds; more than SESSION_MAX_TTL is cut to that. `scope` asks for
    less than the account may do; what it may not do is left out.
    Raises InvalidCredentials, PasswordChangeRequired, TooManyRequests or Busy.
    """
    account = _prove(
        work, client_info, username=username, password=password, device_token=device_token
    )
    if account.must_change_password:
        raise work.keep(require_password_change(work, client_info, account))
    life = timedelta(seconds=expires_in) if expires_in is not None else None
    granted = limit_scope(work, account, scope)
    session = open_session(
        work, client_info, account, device_name=device_name, lifetime=life, amr="pwd", scope=granted
    )
    tokens = issue_tokens(work, account, session)
    if not remember_device:
        return tokens
    return replace(tokens, device_token=trust_device(work, client_info, account, name=device_name))


def limit_scope(work: UnitOfWork, account: Account, asked: str | None) -> str | None:
    """What the session is opened for: never more than was asked nor than the account may; None where nothing was asked."""
    return (
        None
        if asked is None
        else " ".join(
            narrow_scopes(asked.split(), list_scopes(work.settings, list_roles(work.db, account)))
        )
    )


def _prove(
    work: UnitOfWork,
    client_info: ClientInfo,
    *,
    username: str,
    password: str,
    device_token: str | None,
) -> Account:
    """The account whose name and password these are, locked.

    Many programs of one machine may log in at one moment: those for whom the first tries leave no room wait until these are decided.
    """
    waited = 0.0
    while True:
        try:
            return _prove_at_once(
                work, client_info, username=username, password=password, device_token=device_token
            )
        except AttemptsInFlight as undecided:
            if waited >= MAX_WAIT_SECONDS:
                raise
            work.rollback_and_release()
            waited += wait_for_attempts_in_flight(
                work, undecided, patience=MAX_WAIT_SECONDS - waited
            )


def _prove_at_once(
    work: UnitOfWork,
    client_info: ClientInfo,
    *,
    username: str,
    password: str,
    device_token: str | None,
) -> Account:
    name = parse_identifier(username)
    account = lock_account_by_identifier(work.db, name)
    attempt = count_password_attempt(
        work, client_info, account, canonical=name.canonical, device_token=device_token
    )
    checked = check_password(work, attempt, account, password)
    now = {"last_login_at": work.now}
    if checked is None or not (
        apply_success(work, checked, changes=now)
        or verify_again_and_apply_success(work, checked, password, changes=now)
    ):
        event = Event.LOGIN_FAILED if attempt.is_allowed else Event.PASSWORD_LOCKED
        record_event(
            work, event, client_info=client_info, account_id=account.id if account else None
        )
        raise work.keep(InvalidCredentials())
    return checked.account


def require_password_change(
    work: UnitOfWork, client_info: ClientInfo, account: Account
) -> PasswordChangeRequired:
    token = issue_reset_token(work, account_id=account.id, epoch=account.epoch)
    record_event(
        work, Event.PASSWORD_CHANGE_REQUIRED, client_info=client_info, account_id=account.id
    )
    return PasswordChangeRequired(token)
