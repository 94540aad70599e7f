"""Choosing another password by a mailed link. It signs nobody in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.accounts.models import Account, by_id, locked
from app.audit.record import Event, record_event
from app.authentication.passwords.choose import chosen_password
from app.authentication.passwords.verify import is_present_password
from app.authentication.trusted_devices.manage import forget_devices
from app.confirmations.errors import InvalidToken
from app.confirmations.models import Purpose
from app.confirmations.redeem import About, about, redeem
from app.passwords.replace import another, check_repeated, names_of, replaced
from app.sessions.end import end_by_epoch
from app.sessions.models import Status

if TYPE_CHECKING:
    from app.principal import ClientInfo
    from app.unit_of_work import UnitOfWork


def account_of_link(work: UnitOfWork, *, token: str) -> str:
    """The username whose password a link would change. Changes nothing. Raises InvalidToken."""
    return _account(work, about(work, Purpose.RESET, token)).username


def reset(
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
    meant = about(work, Purpose.RESET, token)
    account = _account(work, meant)
    check_repeated(new_password, verify_password)
    text = chosen_password(
        work.settings,
        new_password,
        field="/new_password",
        locale=client_info.locale,
        about=names_of(account),
    )
    if account.must_change_password and is_present_password(work, account, text):
        raise another(client_info.locale)
    with work.released():
        password_hash = work.hasher.hash(text)
    # Locked before the token is used up: of two links of one account at once, the second finds another epoch.
    present = locked(work.db, account.id)
    if present is None or not present.active or present.epoch != meant.epoch:
        raise InvalidToken
    redeem(work, Purpose.RESET, token)
    present.password_hash, present.epoch, present.must_change_since = (
        password_hash,
        present.epoch + 1,
        None,
    )
    end_by_epoch(work, present, status=Status.REVOKED, reason="password_reset")
    forget_devices(work, present)
    replaced(work, present)
    record_event(work, Event.PASSWORD_RESET, client_info=client_info, account_id=present.id)


def _account(work: UnitOfWork, meant: About) -> Account:
    account = by_id(work.db, meant.subject)
    if account is None or not account.active or account.epoch != meant.epoch:
        raise InvalidToken
    return account
