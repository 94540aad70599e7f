"""What resetting and changing a password have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.api_keys.models import list_live_names
from app.authentication.passwords.messages import describe_reason
from app.authentication.passwords.normalize import (
    InvalidPassword,
    RejectionReason,
    normalize_password,
)
from app.authentication.throttling.password_attempts import clear_all_failures
from app.confirmations.issue import invalidate_all_tokens
from app.errors import InvalidInput
from app.notifications.mail.enqueue import Email, EmailTemplate, enqueue_email
from app.passwords.errors import PasswordMismatch

if TYPE_CHECKING:
    from app.accounts.models import Account
    from app.unit_of_work import UnitOfWork


def require_matching_passwords(new_password: str, verify_password: str | None) -> None:
    """Where it was typed twice, was it the same? Raises PasswordMismatch."""
    if verify_password is not None and verify_password != new_password:
        raise PasswordMismatch


def list_account_names(account: Account) -> tuple[str, ...]:
    """What everybody knows of the account, so that its password should not be made of it."""
    return (account.username, account.email.partition("@")[0], account.name)


def build_unchanged_password_error(locale: str) -> InvalidInput:
    """The new password is the old one."""
    reason = RejectionReason.UNCHANGED
    return InvalidInput(
        errors={"/new_password": [describe_reason(reason, locale)]},
        members={"reasons": [reason], "suggestions": []},
    )


def is_same_password(one: str, other: str) -> bool:
    """Are they one password as it is hashed?"""
    try:
        return normalize_password(one) == normalize_password(other)
    except InvalidPassword:
        return False


def finish_password_change(work: UnitOfWork, account: Account) -> None:
    """The account, locked, has another password: whatever was mailed or counted before is over, and the owner hears of it.

    API keys survive it; the mail names them, for whoever changed the password may not be who made them.
    """
    invalidate_all_tokens(work, subject=account.id)
    clear_all_failures(work, account.id)
    keys = "\n".join(list_live_names(work.db, account.id, work.now))
    values = {"username": account.username, "at": f"{work.now:%Y-%m-%d %H:%M} UTC", "keys": keys}
    enqueue_email(
        work, EmailTemplate.PASSWORD_CHANGED, Email(account.email, account.locale, values)
    )
