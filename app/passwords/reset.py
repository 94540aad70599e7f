"""Choosing another password by a mailed link. It signs nobody in."""

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
    """The username whose password a link would change. Changes nothing. Raises InvalidToken."""
    return _get_account(work, get_token_subject(work, ConfirmationPurpose.RESET, token)).username


def reset_password(
    work: UnitOfWork,
    client_info: ClientInfo,
    *,
    token: str,
    new_password: str,
    verify_password: str | None = None,
) -> None:
    """Set another password. Every session of the account ends, and so do its remembered devices and other links; keys stay.

    Raises InvalidToken, InvalidInput, PasswordMismatch or Busy; a password that is not acceptable leaves the token good.
    """
    meant = get_token_subject(work, ConfirmationPurpose.RESET, token)
    account = _get_account(work, meant)
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
    # Locked before the token is used up: of two links of one account at once, the second finds another epoch.
    present = lock_account(work.db, account.id)
    if present is None or not present.is_active or present.epoch != meant.epoch:
        raise InvalidToken
    redeem_token(work, ConfirmationPurpose.RESET, token)
    present.password_hash, present.epoch, present.must_change_since = (
        password_hash,
        present.epoch + 1,
        None,
    )
    revoke_past_epoch_sessions(work, present, status=SessionStatus.REVOKED, reason="password_reset")
    forget_all_trusted_devices(work, present)
    finish_password_change(work, present)
    record_event(work, Event.PASSWORD_RESET, client_info=client_info, account_id=present.id)


def _get_account(work: UnitOfWork, meant: TokenSubject) -> Account:
    account = find_account(work.db, meant.subject)
    if account is None or not account.is_active or account.epoch != meant.epoch:
        raise InvalidToken
    return account
