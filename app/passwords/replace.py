"""Steps shared by resetting and changing a password."""

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
    """Raise PasswordMismatch if a repetition was sent and differs."""
    if verify_password is not None and verify_password != new_password:
        raise PasswordMismatch


def list_account_names(account: Account) -> tuple[str, ...]:
    """Return the public names of an account, which its password must not consist of."""
    return (account.username, account.email.partition("@")[0], account.name)


def build_unchanged_password_error(locale: str) -> InvalidInput:
    """Build the error for a new password that equals the current one."""
    reason = RejectionReason.UNCHANGED
    return InvalidInput(
        errors={"/new_password": [describe_reason(reason, locale)]},
        members={"reasons": [reason], "suggestions": []},
    )


def is_same_password(first: str, second: str) -> bool:
    """Return whether two texts are the same password after normalization."""
    try:
        return normalize_password(first) == normalize_password(second)
    except InvalidPassword:
        return False


def finish_password_change(work: UnitOfWork, account: Account) -> None:
    """Invalidate links, clear failures and notify the user after the password has changed.

    The account must be locked.

    API keys stay valid. The email lists them, because an intruder may have created one.
    """
    invalidate_all_tokens(work, subject=account.id)
    clear_all_failures(work, account.id)
    keys = "\n".join(list_live_names(work.db, account.id, work.now))
    values = {"username": account.username, "at": f"{work.now:%Y-%m-%d %H:%M} UTC", "keys": keys}
    enqueue_email(
        work, EmailTemplate.PASSWORD_CHANGED, Email(account.email, account.locale, values)
    )
