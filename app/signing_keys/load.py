"""Load the signing keys and the global epoch into memory, and create missing keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.adapters import encryption
from app.adapters.jwt import SigningKeyPair, from_pem
from app.credential_status.models import get_global_epoch
from app.signing_keys.models import (
    CURRENT_STATES,
    PUBLISHED_STATES,
    SigningKey,
    SigningKeyPurpose,
    find_signer,
    get_key_state,
    list_signing_keys,
)
from app.signing_keys.rotate import create_signing_key, list_required_purposes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.unit_of_work import UnitOfWork

# Another process may create a key of another purpose at the same time and take the generation.
MAX_ATTEMPTS = 3


def load_signing_keys(work: UnitOfWork, *, ticks: float) -> None:
    """Load keys and global epoch, and create missing keys for the configured algorithm.

    Call this before the first query of the unit of work.
    """
    with work.open_autocommit_session() as db:
        global_epoch = get_global_epoch(db)
    rows = _create_missing(work)
    held = {
        row.kid: work.signing_keys.find_key(row.kid) or _unseal(work, row)
        for row in rows
        if get_key_state(row, rows, work.now) in PUBLISHED_STATES
    }
    signing = [
        row
        for purpose in SigningKeyPurpose
        if (row := find_signer(rows, work.now, purpose)) is not None
    ]
    if any(row.effective_purpose is SigningKeyPurpose.ACCESS for row in signing):
        work.signing_keys.replace_keys(
            held, [held[row.kid] for row in signing], global_epoch=global_epoch, loaded_at=ticks
        )


def _create_missing(work: UnitOfWork) -> Sequence[SigningKey]:
    """Create the missing keys and return all."""
    rows = _list_rows(work)
    for purpose in list_required_purposes(work.settings):
        for _ in range(MAX_ATTEMPTS):
            if _has_current(work, rows, purpose):
                break
            with work.open_autocommit_session() as db:
                create_signing_key(db, work.settings, rows, now=work.now, purpose=purpose)
            rows = _list_rows(work)
    return rows


def _has_current(work: UnitOfWork, rows: Sequence[SigningKey], purpose: SigningKeyPurpose) -> bool:
    wanted = [
        row
        for row in rows
        if row.effective_purpose is purpose and row.algorithm == work.settings.signing_algorithm
    ]
    return any(get_key_state(row, rows, work.now) in CURRENT_STATES for row in wanted)


def _list_rows(work: UnitOfWork) -> Sequence[SigningKey]:
    with work.open_autocommit_session() as db:
        return list_signing_keys(db)


def _unseal(work: UnitOfWork, row: SigningKey) -> SigningKeyPair:
    pem = encryption.unseal(
        work.settings.secret_key, encryption.KeyPurpose.SIGNING_KEYS, row.sealed_private, row.kid
    )
    return SigningKeyPair(
        row.kid, row.effective_purpose, row.algorithm, row.public_jwk, from_pem(pem)
    )
