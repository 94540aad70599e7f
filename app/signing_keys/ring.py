"""Keeping the key ring of this process as the database has it, and making the first key when there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.adapters import sealing
from app.adapters.jwt import RingKey, from_pem
from app.adapters.sealing import Purpose
from app.signing_keys.models import COMING, PUBLISHED, SigningKey, all_keys, signer, state
from app.signing_keys.rotate import make

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.unit_of_work import UnitOfWork


def read_again(work: UnitOfWork, *, global_epoch: int, ticks: float) -> None:
    """Fill the ring from the database. Where none of the algorithm that is set signs or is announced, make one."""
    rows = _rows(work)
    if not any(row.algorithm == work.settings.signing_algorithm and state(row, rows, work.now) in COMING for row in rows):
        with work.aside() as db:
            make(db, work.settings, rows, now=work.now)
        rows = _rows(work)
    signing = signer(rows, work.now)
    held = {row.kid: work.keys.known(row.kid) or _opened(work, row) for row in rows if state(row, rows, work.now) in PUBLISHED}
    if signing is not None:
        work.keys.hold(held, held[signing.kid], global_epoch=global_epoch, at=ticks)


def _rows(work: UnitOfWork) -> Sequence[SigningKey]:
    with work.aside() as db:
        return all_keys(db)


def _opened(work: UnitOfWork, row: SigningKey) -> RingKey:
    pem = sealing.unseal(work.settings.secret_key, Purpose.SIGNING_KEYS, row.sealed_private, row.kid)
    return RingKey(row.kid, row.algorithm, row.public_jwk, from_pem(pem))
