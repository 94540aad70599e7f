"""The one place that checks a password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from app.accounts.models import Account
from app.accounts.password_rules import NotAPassword, normalised

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork


def check_password(work: UnitOfWork, account: Account | None, password: str) -> bool:
    """Is it the password of that account? Costs the same for an account that does not exist or is not active.

    Holds no transaction while hashing: what was read before must be a condition of what is written after. Raises Busy.
    """
    try:
        text = normalised(password)
    except NotAPassword:
        account, text = None, ""
    usable = account is not None and account.active
    password_hash = account.password_hash if account is not None and usable else work.hasher.decoy
    with work.released():
        fits = work.hasher.verify(password_hash, text)
        renewed = work.hasher.hash(text) if fits and usable and work.hasher.outdated(password_hash) else None
    if renewed is not None and account is not None:
        # A password changed meanwhile stays changed. Whoever writes on the condition of the hash finds the new one on the account.
        work.db.execute(
            update(Account).where(Account.id == account.id, Account.password_hash == password_hash).values(password_hash=renewed)
        )
    return fits and usable
