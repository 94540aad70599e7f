"""Finding the account that somebody means, by its username or its address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.accounts import names
from app.accounts.models import Account

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session

NOBODY = ""  # no account has this name; asking for it costs what asking for any other does


@dataclass(frozen=True, slots=True)
class Typed:
    """What somebody typed as a name or an address, in the form in which it is compared."""

    canonical: str
    is_address: bool
    possible: bool  # could it be anybody's at all?

    @property
    def condition(self) -> ColumnElement[bool]:
        """Which account it names."""
        wanted = self.canonical if self.possible else NOBODY
        return Account.email_canonical == wanted if self.is_address else Account.username == wanted


def typed(text: str) -> Typed:
    """What was typed. What can be no name is kept as it stands, so that it can be counted like any other that nobody has."""
    try:
        name = names.folded(text)
        return (
            Typed(names.canonical_address(name), True, True)
            if "@" in name
            else Typed(name, False, True)
        )
    except names.NotAName:
        return Typed(text, "@" in text, False)


def find_locked(db: Session, name: Typed) -> Account | None:
    """The account of that name, kept as it is until the transaction ends."""
    return db.scalar(
        select(Account)
        .where(name.condition)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
