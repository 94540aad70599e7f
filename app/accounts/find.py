"""Finding an account by username or email address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts import names
from app.accounts.models import Account, lock_account
from app.errors import NotFound
from app.opaque_tokens import is_id

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

NO_ACCOUNT = ""  # matches no row, at the cost of any other name


@dataclass(frozen=True, slots=True)
class Identifier:
    """A username or email address that was entered to find an account, in canonical form."""

    canonical: str
    is_email: bool
    is_valid: bool  # False if no account can have this name

    @property
    def condition(self) -> ColumnElement[bool]:
        """The SQL condition that matches the account."""
        wanted = self.canonical if self.is_valid else NO_ACCOUNT
        return Account.email_canonical == wanted if self.is_email else Account.username == wanted


def parse_identifier(text: str) -> Identifier:
    """Parse an entered username or email address.

    Invalid text becomes an identifier that matches no account, so that throttling counts it like
    any other unknown name.
    """
    try:
        name = names.fold_name(text)
        return (
            Identifier(names.canonicalize_email(name), True, True)
            if "@" in name
            else Identifier(name, False, True)
        )
    except names.InvalidName:
        return Identifier(text, "@" in text, False)


def lock_account_by_identifier(db: Session, identifier: Identifier) -> Account | None:
    """Return the account, locked until the transaction ends."""
    return db.scalar(
        select(Account)
        .where(identifier.condition)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def get_locked_account(db: Session, account_id: str) -> Account:
    """Return the account, locked until the transaction ends. Raises NotFound."""
    account = lock_account(db, account_id) if is_id("acc", account_id) else None
    if account is None:
        raise NotFound
    return account
