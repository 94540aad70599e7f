"""Taking a mailed secret back: a look that changes nothing, and the one use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from app.adapters.database import count_changed_rows
from app.confirmations.errors import InvalidToken
from app.confirmations.issue import PREFIXES
from app.confirmations.models import Confirmation, Purpose
from app.opaque_tokens import digest, find, matches

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement

    from app.unit_of_work import UnitOfWork


def purpose_of(token: str, purposes: Iterable[Purpose]) -> Purpose:
    """Which of these the token says it is for; whether it is any good is not asked here. Raises InvalidToken."""
    prefix = token.partition("_")[0]
    for purpose in purposes:
        if PREFIXES[purpose] == prefix:
            return purpose
    raise InvalidToken


@dataclass(frozen=True, slots=True)
class About:
    """What a token is about, and the epoch of the account at the time where it is about one."""

    subject: str
    epoch: int | None


def about(work: UnitOfWork, purpose: Purpose, token: str) -> About:
    """What a token that can still be redeemed is about. Raises InvalidToken."""
    row_id = find(PREFIXES[purpose], "cnf", token)
    row = (
        work.db.scalar(select(Confirmation).where(*_live(work, purpose, row_id)))
        if row_id
        else None
    )
    if row is None or not matches(token, row.digest):
        raise InvalidToken
    return About(row.subject, row.epoch)


def redeem(work: UnitOfWork, purpose: Purpose, token: str) -> None:
    """Use a token up. Of many at once, one gets through; it counts only if the unit is committed. Raises InvalidToken."""
    row_id = find(PREFIXES[purpose], "cnf", token)
    fits = Confirmation.digest == digest(token)
    if (
        count_changed_rows(
            work.db,
            update(Confirmation)
            .where(*_live(work, purpose, row_id), fits)
            .values(used_at=work.now),
        )
        != 1
    ):
        raise InvalidToken


def _live(work: UnitOfWork, purpose: Purpose, row_id: str | None) -> list[ColumnElement[bool]]:
    return [
        Confirmation.id == row_id,
        Confirmation.purpose == purpose,
        Confirmation.used_at.is_(None),
        Confirmation.expires_at > work.now,
    ]
