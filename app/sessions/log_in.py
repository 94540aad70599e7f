"""Login with username or email address and password."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from app.accounts.names import parse_identifier
from app.audit.record import Event, record_event
from app.authentication.authenticate import PresentedPassword, authenticate
from app.authentication.trusted_devices.manage import trust_device
from app.authorization.rights import list_roles, list_scopes, narrow_scopes
from app.confirmations.issue import issue_reset_token
from app.sessions.errors import PasswordChangeRequired
from app.sessions.open_session import open_session
from app.sessions.tokens import SessionTokens, issue_tokens

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork


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
    """Open a session for the user with this username or email address and password.

    `expires_in` is the lifetime of the session in seconds, limited by SESSION_MAX_TTL. `scope`
    narrows the session; scopes that the account does not have are left out. Raises
    InvalidCredentials, PasswordChangeRequired, TooManyRequests or Busy.
    """
    authenticated = authenticate(
        work,
        client_info,
        parse_identifier(username),
        PresentedPassword(password, device_token),
        build_changes=lambda: {"last_login_at": work.now},
    )
    account = authenticated.account
    require_no_password_change(work, client_info, account)
    session = open_session(
        work,
        client_info,
        authenticated,
        device_name=device_name,
        lifetime=timedelta(seconds=expires_in) if expires_in is not None else None,
        scope=_limit_scope(work, account, scope),
    )
    tokens = issue_tokens(work, account, session)
    if not remember_device:
        return tokens
    return replace(tokens, device_token=trust_device(work, client_info, account, name=device_name))


def require_no_password_change(work: UnitOfWork, client_info: ClientInfo, account: Account) -> None:
    """Raise PasswordChangeRequired, with a reset token, if the user must change the password."""
    if not account.must_change_password:
        return
    token = issue_reset_token(work, account_id=account.id, epoch=account.epoch)
    record_event(
        work, Event.PASSWORD_CHANGE_REQUIRED, client_info=client_info, account_id=account.id
    )
    raise work.keep(PasswordChangeRequired(token))


def _limit_scope(work: UnitOfWork, account: Account, requested: str | None) -> str | None:
    """Return the requested scopes that the account has, or None if none were requested."""
    if requested is None:
        return None
    granted = list_scopes(work.settings, list_roles(work.db, account))
    return " ".join(narrow_scopes(requested.split(), granted))
