"""Changing the password by whoever knows the present one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.accounts.models import Account, lock_account
from app.audit.record import Event, record_event
from app.authentication.errors import WrongPassword
from app.authentication.passwords.validate import validate_new_password
from app.authentication.passwords.verify import (
    apply_success,
    check_password,
    hash_new_password,
    verify_again_and_apply_success,
)
from app.authentication.throttling.password_attempts import count_attempt
from app.errors import Unauthenticated
from app.passwords.replace import (
    build_unchanged_password_error,
    finish_password_change,
    is_same_password,
    list_account_names,
    require_matching_passwords,
)
from app.sessions.models import SessionStatus
from app.sessions.move import move_session_to_new_epoch
from app.sessions.revoke import revoke_past_epoch_sessions
from app.sessions.tokens import SessionTokens, issue_tokens

if TYPE_CHECKING:
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def change_password(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    *,
    old_password: str,
    new_password: str,
    verify_password: str | None = None,
) -> SessionTokens:
    """Set another password. The session that asks goes on with the tokens returned; all others end, and so do links that are out.

    Raises InvalidInput, PasswordMismatch, WrongPassword, TooManyRequests, Unauthenticated or Busy.
    """
    account = lock_account(work.db, principal.account_id)
    if account is None:
        raise Unauthenticated
    require_matching_passwords(new_password, verify_password)
    text = validate_new_password(
        work.settings,
        new_password,
        field="/new_password",
        locale=client_info.locale,
        about=list_account_names(account),
    )
    if is_same_password(old_password, text):
        raise build_unchanged_password_error(client_info.locale)
    attempt = count_attempt(work, subject=account.id, bucket=client_info.bucket)
    checked = check_password(work, attempt, account, old_password)
    if checked is None:
        raise work.keep(_refused(work, client_info, principal))
    changes = {
        "password_hash": hash_new_password(work, checked, text),
        "epoch": Account.epoch + 1,
        "must_change_since": None,
    }
    if not (
        apply_success(work, checked, changes=changes)
        or verify_again_and_apply_success(work, checked, old_password, changes=changes)
    ):
        raise work.keep(_refused(work, client_info, principal))
    session = move_session_to_new_epoch(work, checked.account, session_id=principal.session_id)
    revoke_past_epoch_sessions(
        work, checked.account, status=SessionStatus.REVOKED, reason="password_changed"
    )
    finish_password_change(work, checked.account)
    record_event(
        work,
        Event.PASSWORD_CHANGED,
        client_info=client_info,
        account_id=account.id,
        session_id=session.id,
    )
    return issue_tokens(work, checked.account, session)


def _refused(work: UnitOfWork, client_info: ClientInfo, principal: Principal) -> WrongPassword:
    record_event(
        work,
        Event.PASSWORD_REFUSED,
        client_info=client_info,
        account_id=principal.account_id,
        session_id=principal.session_id,
    )
    return WrongPassword()
