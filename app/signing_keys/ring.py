"""Keeping the key ring of this process as the database has it, and making the first key of a kind when there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.adapters import secret_key
from app.adapters.jwt import SigningKeyPair, from_pem
from app.signing_keys.models import COMING, PUBLISHED, Purpose, SigningKey, all_keys, signer, state
from app.signing_keys.rotate import make, purposes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.unit_of_work import UnitOfWork

# A key of another kind that another process makes at the same moment takes the generation away, and has to be made way for.
TRIES = 3


def read_again(work: UnitOfWork, *, global_epoch: int, ticks: float) -> None:
    """Fill the ring from the database. Where none of the algorithm that is set signs or is announced, make one."""
    rows = _complete(work)
    held = {
        row.kid: work.signing_keys.find_key(row.kid) or _opened(work, row)
        for row in rows
        if state(row, rows, work.now) in PUBLISHED
    }
    signing = [row for purpose in Purpose if (row := signer(rows, work.now, purpose)) is not None]
    if any(row.signs is Purpose.ACCESS for row in signing):
        work.signing_keys.replace_keys(
            held, [held[row.kid] for row in signing], global_epoch=global_epoch, loaded_at=ticks
        )


def _complete(work: UnitOfWork) -> Sequence[SigningKey]:
    """All keys, after those that are missing were made."""
    rows = _rows(work)
    for purpose in purposes(work.settings):
        for _ in range(TRIES):
            if _is_coming(work, rows, purpose):
                break
            with work.open_autocommit_session() as db:
                make(db, work.settings, rows, now=work.now, purpose=purpose)
            rows = _rows(work)
    return rows


def _is_coming(work: UnitOfWork, rows: Sequence[SigningKey], purpose: Purpose) -> bool:
    wanted = [
        row
        for row in rows
        if row.signs is purpose and row.algorithm == work.settings.signing_algorithm
    ]
    return any(state(row, rows, work.now) in COMING for row in wanted)


def _rows(work: UnitOfWork) -> Sequence[SigningKey]:
    with work.open_autocommit_session() as db:
        return all_keys(db)


def _opened(work: UnitOfWork, row: SigningKey) -> SigningKeyPair:
    pem = secret_key.unseal(
        work.settings.secret_key, sealing.KeyPurpose.SIGNING_KEYS, row.sealed_private, row.kid
    )
    return SigningKeyPair(row.kid, row.signs, row.algorithm, row.public_jwk, from_pem(pem))
