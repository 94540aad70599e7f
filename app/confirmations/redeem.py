"""Reading and redeeming confirmation tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from app.adapters.statements import count_changed_rows
from app.confirmations.errors import InvalidToken
from app.confirmations.issue import PREFIXES
from app.confirmations.models import Confirmation, ConfirmationPurpose
from app.opaque_tokens import compute_digest, has_digest, parse_row_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement

    from app.unit_of_work import UnitOfWork


@dataclass(frozen=True, slots=True)
class TokenSubject:
    """The subject of a token. If it is an account, also the account's epoch at issue."""

    subject: str
    epoch: int | None


def parse_token_purpose(token: str, purposes: Iterable[ConfirmationPurpose]) -> ConfirmationPurpose:
    """Return the purpose that the prefix of a token names, without verifying the token.

    Raises InvalidToken.
    """
    prefix = token.partition("_")[0]
    for purpose in purposes:
        if PREFIXES[purpose] == prefix:
            return purpose
    raise InvalidToken


def get_token_subject(work: UnitOfWork, purpose: ConfirmationPurpose, token: str) -> TokenSubject:
    """Return the subject of a valid token without redeeming it. Raises InvalidToken."""
    row_id = parse_row_id(PREFIXES[purpose], "cnf", token)
    valid = _build_valid_clause(work, purpose, row_id)
    row = work.db.scalar(select(Confirmation).where(*valid)) if row_id else None
    if row is None or not has_digest(token, row.digest):
        raise InvalidToken
    return TokenSubject(row.subject, row.epoch)


def redeem_token(work: UnitOfWork, purpose: ConfirmationPurpose, token: str) -> None:
    """Use a token up. Of several concurrent requests, one succeeds. Raises InvalidToken."""
    row_id = parse_row_id(PREFIXES[purpose], "cnf", token)
    redeemed = count_changed_rows(
        work.db,
        update(Confirmation)
        .where(
            *_build_valid_clause(work, purpose, row_id),
            Confirmation.digest == compute_digest(token),
        )
        .values(used_at=work.now),
    )
    if redeemed != 1:
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
