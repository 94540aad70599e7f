"""Changing the password of a signed-in user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.accounts.models import Account
from app.audit.record import Event, record_event
from app.authentication.authenticate import PresentedPassword, authenticate, lock_signed_in_user
from app.authentication.passwords.validate import validate_new_password
from app.passwords.replace import (
    build_unchanged_password_error,
    finish_password_change,
    is_same_password,
    list_account_names,
    require_matching_passwords,
)
from app.sessions.models import SessionStatus
from app.sessions.revoke import move_session_to_new_epoch, revoke_past_epoch_sessions
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
    """Change the password of a signed-in user.

    This session continues with new tokens; all others and open links end. Raises InvalidInput,
    PasswordMismatch, WrongPassword, TooManyRequests, Unauthenticated or Busy.
    """
    user = lock_signed_in_user(work, principal)
    require_matching_passwords(new_password, verify_password)
    text = validate_new_password(
        work.settings,
        new_password,
        field="/new_password",
        locale=client_info.locale,
        about=list_account_names(user.account),
    )
    if is_same_password(old_password, text):
        raise build_unchanged_password_error(client_info.locale)
    authenticated = authenticate(
        work,
        client_info,
        user,
        PresentedPassword(old_password),
        build_changes=lambda: _build_changes(work, text),
    )
    account = authenticated.account
    session = move_session_to_new_epoch(work, authenticated, session_id=principal.session_id)
    revoked = SessionStatus.REVOKED
    revoke_past_epoch_sessions(work, account, status=revoked, reason="password_changed")
    finish_password_change(work, account)
    record_event(
        work,
        Event.PASSWORD_CHANGED,
        client_info=client_info,
        account_id=account.id,
        session_id=session.id,
    )
    return issue_tokens(work, account, session)


def _build_changes(work: UnitOfWork, text: str) -> dict[str, object]:
    work.commit_and_release()
    password_hash = work.hasher.hash(text)
    return {"password_hash": password_hash, "epoch": Account.epoch + 1, "must_change_since": None}
