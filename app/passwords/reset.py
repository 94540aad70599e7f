"""Resetting a password with an emailed link. It does not log the user in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.accounts.models import Account, find_account, lock_account
from app.audit.record import Event, record_event
from app.authentication.passwords.validate import validate_new_password
from app.authentication.passwords.verify import check_password
from app.authentication.trusted_devices.manage import forget_all_trusted_devices
from app.confirmations.errors import InvalidToken
from app.confirmations.models import ConfirmationPurpose
from app.confirmations.redeem import TokenSubject, get_token_subject, redeem_token
from app.passwords.replace import (
    build_unchanged_password_error,
    finish_password_change,
    list_account_names,
    require_matching_passwords,
)
from app.sessions.models import SessionStatus
from app.sessions.revoke import revoke_past_epoch_sessions

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork


def get_username_for_reset(work: UnitOfWork, *, token: str) -> str:
    """Return the username of the account that a reset link belongs to. Raises InvalidToken."""
    return _get_account(work, get_token_subject(work, ConfirmationPurpose.RESET, token)).username


def reset_password(
    work: UnitOfWork,
    client_info: ClientInfo,
    *,
    token: str,
    new_password: str,
    verify_password: str | None = None,
) -> None:
    """Set a new password, revoke every session and forget every trusted device.

    API keys stay valid.

    An unacceptable password does not use the token up. Raises InvalidToken, InvalidInput,
    PasswordMismatch or Busy.
    """
    subject = get_token_subject(work, ConfirmationPurpose.RESET, token)
    account = _get_account(work, subject)
    require_matching_passwords(new_password, verify_password)
    text = validate_new_password(
        work.settings,
        new_password,
        field="/new_password",
        locale=client_info.locale,
        about=list_account_names(account),
    )
    if account.must_change_password and check_password(work, account, text):
        raise build_unchanged_password_error(client_info.locale)
    work.commit_and_release()
    password_hash = work.hasher.hash(text)
    # Lock before redeeming: of two links used at once, the second finds a new epoch.
    current = lock_account(work.db, account.id)
    if current is None or not current.is_active or current.epoch != subject.epoch:
        raise InvalidToken
    redeem_token(work, ConfirmationPurpose.RESET, token)
    current.password_hash = password_hash
    current.epoch += 1
    current.must_change_since = None
    revoke_past_epoch_sessions(work, current, status=SessionStatus.REVOKED, reason="password_reset")
    forget_all_trusted_devices(work, current)
    finish_password_change(work, current)
    record_event(work, Event.PASSWORD_RESET, client_info=client_info, account_id=current.id)


def _get_account(work: UnitOfWork, subject: TokenSubject) -> Account:
    account = find_account(work.db, subject.subject)
    if account is None or not account.is_active or account.epoch != subject.epoch:
        raise InvalidToken
    return account
