"""Changing the password by whoever knows the present one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.accounts.models import Account, locked
from app.audit.record import Event, record_event
from app.authentication.errors import WrongPassword
from app.authentication.passwords.choose import chosen_password
from app.authentication.passwords.verify import check_password, hash_after, settle, settle_again
from app.authentication.throttling.password_attempts import take
from app.errors import Unauthenticated
from app.passwords.replace import another, check_repeated, names_of, replaced, same
from app.sessions.end import end_by_epoch
from app.sessions.models import Status
from app.sessions.move import move_along
from app.sessions.tokens import Tokens, tokens_of

if TYPE_CHECKING:
    from app.principal import ClientInfo, Principal
    from app.unit_of_work import UnitOfWork


def change(
    work: UnitOfWork,
    principal: Principal,
    client_info: ClientInfo,
    *,
    old_password: str,
    new_password: str,
    verify_password: str | None = None,
) -> Tokens:
    """Set another password. The session that asks goes on with the tokens returned; all others end, and so do links that are out.

    Raises InvalidInput, PasswordMismatch, WrongPassword, TooManyRequests, Unauthenticated or Busy.
    """
    account = locked(work.db, principal.account_id)
    if account is None:
        raise Unauthenticated
    check_repeated(new_password, verify_password)
    text = chosen_password(
        work.settings,
        new_password,
        field="/new_password",
        locale=client_info.locale,
        about=names_of(account),
    )
    if same(old_password, text):
        raise another(client_info.locale)
    attempt = take(work, subject=account.id, bucket=client_info.bucket)
    checked = check_password(work, attempt, account, old_password)
    if checked is None:
        raise _refused(work, client_info, principal)
    changes = {
        "password_hash": hash_after(work, checked, text),
        "epoch": Account.epoch + 1,
        "must_change_since": None,
    }
    if not (
        settle(work, checked, changes=changes)
        or settle_again(work, checked, old_password, changes=changes)
    ):
        raise _refused(work, client_info, principal)
    session = move_along(work, checked.account, session_id=principal.session_id)
    end_by_epoch(work, checked.account, status=Status.REVOKED, reason="password_changed")
    replaced(work, checked.account)
    record_event(
        work,
        Event.PASSWORD_CHANGED,
        client_info=client_info,
        account_id=account.id,
        session_id=session.id,
    )
    return tokens_of(work, checked.account, session)


def _refused(work: UnitOfWork, client_info: ClientInfo, principal: Principal) -> WrongPassword:
    record_event(
        work,
        Event.PASSWORD_REFUSED,
        client_info=client_info,
        account_id=principal.account_id,
        session_id=principal.session_id,
    )
    return WrongPassword()
