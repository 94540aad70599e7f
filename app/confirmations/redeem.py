"""Taking a mailed secret back: a look that changes nothing, and the one use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from app.adapters.database import count_changed_rows
from app.confirmations.errors import InvalidToken
from app.confirmations.issue import PREFIXES
from app.confirmations.models import Confirmation, ConfirmationPurpose
from app.opaque_tokens import compute_digest, has_digest, parse_row_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement

    from app.unit_of_work import UnitOfWork


def parse_token_purpose(token: str, purposes: Iterable[ConfirmationPurpose]) -> ConfirmationPurpose:
    """Which of these the token says it is for; whether it is any good is not asked here. Raises InvalidToken."""
    prefix = token.partition("_")[0]
    for purpose in purposes:
        if PREFIXES[purpose] == prefix:
            return purpose
    raise InvalidToken


@dataclass(frozen=True, slots=True)
class TokenSubject:
    """What a token is about, and the epoch of the account at the time where it is about one."""

    subject: str
    epoch: int | None


def get_token_subject(work: UnitOfWork, purpose: ConfirmationPurpose, token: str) -> TokenSubject:
    """What a token that can still be redeemed is about. Raises InvalidToken."""
    row_id = parse_row_id(PREFIXES[purpose], "cnf", token)
    row = (
        work.db.scalar(select(Confirmation).where(*_build_valid_clause(work, purpose, row_id)))
        if row_id
        else None
    )
    if row is None or not has_digest(token, row.digest):
        raise InvalidToken
    return TokenSubject(row.subject, row.epoch)


def redeem_token(work: UnitOfWork, purpose: ConfirmationPurpose, token: str) -> None:
    """Use a token up. Of many at once, one gets through; it counts only if the unit is committed. Raises InvalidToken."""
    row_id = parse_row_id(PREFIXES[purpose], "cnf", token)
    fits = Confirmation.digest == compute_digest(token)
    if (
        count_changed_rows(
            work.db,
            update(Confirmation)
            .where(*_build_valid_clause(work, purpose, row_id), fits)
            .values(used_at=work.now),
        )
        != 1
    ):
        raise InvalidToken


def _build_valid_clause(
    work: UnitOfWork, purpose: ConfirmationPurpose, row_id: str | None
) -> list[ColumnElement[bool]]:
    return [
        Confirmation.id == row_id,
        Confirmation.purpose == purpose,
        Confirmation.used_at.is_(None),
        Confirmation.expires_at > work.now,
    ]
