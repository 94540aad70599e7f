"""The one place that checks a password, and counts how often that failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import update

from app.accounts.models import Account, Status, locked
from app.adapters.database import count_changed_rows
from app.authentication.passwords.normalize import NotAPassword, normalised
from app.authentication.throttling.password_attempts import Attempt, decided, forget, give_back
from app.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a try. A right one counts for nothing until it was settled."""

    account: Account
    attempt: Attempt


def check_password(
    work: UnitOfWork, attempt: Attempt, account: Account | None, password: str
) -> Checked | None:
    """Is it the password of that account? Costs the same for an account that does not exist, is not active or has no tries left.

    The attempt must have been taken in this transaction, which is committed before the hash: nothing is held while hashing,
    so what was read before must be a condition of what is written after; see `settle`. Raises Busy, and then gives the attempt back.
    """
    try:
        fits = _fits(work, account if attempt.open else None, password)
    except Busy:
        give_back(work, attempt)
        with work.released():  # no hash was taken, so none may be counted, whatever is answered
            raise
    if account is None or not fits:
        decided(work, attempt)
        return None
    return Checked(account, attempt)


def settle(work: UnitOfWork, checked: Checked, *, changes: Mapping[str, object]) -> bool:
    """Lock the account, on condition that nothing changed while its password was being checked, and change it.

    The failures before are forgotten. False when something did change: then nothing is written.
    """
    account = checked.account
    settled = count_changed_rows(
        work.db,
        update(Account)
        .where(
            Account.id == account.id,
            Account.epoch == account.epoch,
            Account.password_hash == account.password_hash,
            Account.status == Status.ACTIVE,
        )
        .values(changes),
    )
    if settled:
        forget(work, checked.attempt)
    return settled == 1


def settle_again(
    work: UnitOfWork, checked: Checked, password: str, *, changes: Mapping[str, object]
) -> bool:
    """Look once more: of two tries at once, the first may have renewed the hash that the second had read."""
    present = locked(work.db, checked.account.id)
    if present is None or not _fits(work, present, password):
        return False
    return settle(work, Checked(present, checked.attempt), changes=changes)


def hash_after(work: UnitOfWork, checked: Checked, text: str) -> str:
    """The hash of a new password, for somebody whose old one was right: a full gate must not count that as a failure. Raises Busy."""
    try:
        with work.released():
            return work.hasher.hash(text)
    except Busy:
        give_back(work, checked.attempt)
        with work.released():
            raise


def is_present_password(work: UnitOfWork, account: Account, text: str) -> bool:
    """Would the account keep the password it has? Asked of whoever may choose another one anyway, so it counts as no try."""
    return _fits(work, account, text)


def _fits(work: UnitOfWork, account: Account | None, password: str) -> bool:
    try:
        text = normalised(password)
    except NotAPassword:
        account, text = None, ""
    usable = account is not None and account.active
    password_hash = account.password_hash if account is not None and usable else work.hasher.decoy
    with work.released():
        fits = work.hasher.verify(password_hash, text)
        renewed = (
            work.hasher.hash(text)
            if fits and usable and work.hasher.outdated(password_hash)
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
