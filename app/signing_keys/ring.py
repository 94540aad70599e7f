"""Keeping the key ring of this process as the database has it, and making the first key when there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from app.adapters import logs, sealing
from app.adapters.jwt import RingKey, from_pem, new_key, to_pem
from app.adapters.sealing import Purpose
from app.opaque_tokens import new_id
from app.signing_keys.models import SigningKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from app.unit_of_work import UnitOfWork

OLDEST = 5.0  # seconds
log = logs.get_logger("signing_keys")


def keep_fresh(work: UnitOfWork, *, ticks: float) -> None:
    """Read the keys again when what this process holds is older than five seconds. Call it before the unit's first query."""
    if work.keys.age(ticks) < OLDEST:
        return
    rows = _rows(work)
    if not any(row.algorithm == work.settings.signing_algorithm for row in rows):
        _make(work, rows)
        rows = _rows(work)
    signer = signing_at(rows, work.now)
    held = {row.kid: work.keys.known(row.kid) or _opened(work, row) for row in rows}
    work.keys.hold(held, held[signer.kid], at=ticks)


def signing_at(rows: Sequence[SigningKey], now: datetime) -> SigningKey:
    """Which of the keys signs: the latest that has been announced for long enough.

    The first key was announced to nobody before: it signs also for a request, or by a clock, that is behind its making.
    """
    announced = [row for row in rows if row.signs_at(now)]
    return max(announced, key=lambda row: row.generation) if announced else min(rows, key=lambda row: row.generation)


def _rows(work: UnitOfWork) -> Sequence[SigningKey]:
    with work.aside() as db:
        return db.scalars(select(SigningKey).order_by(SigningKey.generation)).all()


def _make(work: UnitOfWork, rows: Sequence[SigningKey]) -> None:
    """Make one key of the algorithm that is set; where another process was quicker, its key is ours too.

    The first key signs at once, for no verifier can have read an older list. A later one is published for two cache
    lives first, so that a verifier never meets a token whose key it has not heard of.
    """
    private, public = new_key(work.settings.signing_algorithm)
    kid = new_id("key").removeprefix("key_")
    jwk = {**public, "kid": kid, "use": "sig", "alg": str(work.settings.signing_algorithm)}
    row = {
        "kid": kid,
        "generation": 1 + max((row.generation for row in rows), default=0),
        "algorithm": str(work.settings.signing_algorithm),
        "public_jwk": jwk,
        "sealed_private": sealing.seal(work.settings.secret_key, Purpose.SIGNING_KEYS, to_pem(private), kid),
        "created_at": work.now,
        "signs_from": work.now + (2 * work.settings.jwks_max_age if rows else 0 * work.settings.jwks_max_age),
    }
    try:
        with work.aside() as db:
            db.execute(insert(SigningKey).values(**row))
    except IntegrityError:
        return
    log.info("signing_key.created", kid=kid, algorithm=row["algorithm"])


def _opened(work: UnitOfWork, row: SigningKey) -> RingKey:
    pem = sealing.unseal(work.settings.secret_key, Purpose.SIGNING_KEYS, row.sealed_private, row.kid)
    return RingKey(row.kid, row.algorithm, row.public_jwk, from_pem(pem))
