"""The one place that checks a password, and counts how often that failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import update

from app.accounts.models import Account, AccountStatus, lock_account
from app.adapters.database import count_changed_rows
from app.authentication.passwords.normalize import InvalidPassword, normalize_password
from app.authentication.throttling.password_attempts import (
    PasswordAttempt,
    clear_failures,
    record_failure,
    refund_attempt,
)
from app.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class VerifiedPassword:
    """What came of a try. A right one counts for nothing until it was settled."""

    account: Account
    attempt: PasswordAttempt


def check_password(
    work: UnitOfWork, attempt: PasswordAttempt, account: Account | None, password: str
) -> VerifiedPassword | None:
    """Is it the password of that account? Costs the same for an account that does not exist, is not active or has no tries left.

    The attempt must have been taken in this transaction, which is committed before the hash: nothing is held while hashing,
    so what was read before must be a condition of what is written after; see `settle`. Raises Busy, and then gives the attempt back.
    """
    try:
        fits = _matches(work, account if attempt.is_allowed else None, password)
    except Busy as busy:
        # No hash was computed, so the attempt must not count.
        refund_attempt(work, attempt)
        raise work.keep(busy) from None
    if account is None or not fits:
        record_failure(work, attempt)
        return None
    return VerifiedPassword(account, attempt)


def apply_success(
    work: UnitOfWork, verified: VerifiedPassword, *, changes: Mapping[str, object]
) -> bool:
    """Lock the account, on condition that nothing changed while its password was being checked, and change it.

    The failures before are forgotten. False when something did change: then nothing is written.
    """
    account = verified.account
    settled = count_changed_rows(
        work.db,
        update(Account)
        .where(
            Account.id == account.id,
            Account.epoch == account.epoch,
            Account.password_hash == account.password_hash,
            Account.status == AccountStatus.ACTIVE,
        )
        .values(changes),
    )
    if settled:
        clear_failures(work, verified.attempt)
    return settled == 1


def verify_again_and_apply_success(
    work: UnitOfWork, verified: VerifiedPassword, password: str, *, changes: Mapping[str, object]
) -> bool:
    """Look once more: of two tries at once, the first may have renewed the hash that the second had read."""
    present = lock_account(work.db, verified.account.id)
    if present is None or not _matches(work, present, password):
        return False
    return apply_success(work, VerifiedPassword(present, verified.attempt), changes=changes)


def hash_new_password(work: UnitOfWork, verified: VerifiedPassword, text: str) -> str:
    """The hash of a new password, for somebody whose old one was right: a full gate must not count that as a failure. Raises Busy."""
    try:
        work.commit_and_release()
        return work.hasher.hash(text)
    except Busy as busy:
        refund_attempt(work, verified.attempt)
        raise work.keep(busy) from None


def is_current_password(work: UnitOfWork, account: Account, text: str) -> bool:
    """Would the account keep the password it has? Asked of whoever may choose another one anyway, so it counts as no try."""
    return _matches(work, account, text)


def _matches(work: UnitOfWork, account: Account | None, password: str) -> bool:
    try:
        text = normalize_password(password)
    except InvalidPassword:
        account, text = None, ""
    usable = account is not None and account.is_active
    password_hash = (
        account.password_hash if account is not None and usable else work.hasher.decoy_hash
    )
    work.commit_and_release()
    fits = work.hasher.verify(password_hash, text)
    renewed = (
        work.hasher.hash(text)
        if fits and usable and work.hasher.is_outdated(password_hash)
        else None
    )
    if renewed is not None and account is not None:
        # A password changed meanwhile stays changed. Whoever writes on the condition of the hash finds the new one on the account.
        work.db.execute(
            update(Account)
            .where(Account.id == account.id, Account.password_hash == password_hash)
            .values(password_hash=renewed)
        )
    return fits and usable
