"""Revoke a signing key that may be compromised."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import update

from app.adapters.statements import count_changed_rows
from app.audit.record import Event, record_event
from app.credential_status.models import (
    ISSUER_STATE_ID,
    IssuerState,
    Revocation,
    RevocationKind,
    get_global_epoch,
)
from app.signing_keys.models import SigningKey, SigningKeyPurpose, find_signer, list_signing_keys
from app.signing_keys.rotate import create_signing_key

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork


def revoke_signing_key(work: UnitOfWork, *, kid: str) -> bool:
    """Revoke a signing key. Returns False if it does not exist or is already revoked.

    Every process applies it within five seconds. If no key of the purpose can sign, a new one signs
    at once. An access token key ends every session, because its tokens can be forged for any of
    them. An identity key affects no session.
    """
    if (
        count_changed_rows(
            work.db,
            update(SigningKey)
            .where(SigningKey.kid == kid, SigningKey.revoked_at.is_(None))
            .values(revoked_at=work.now),
        )
        != 1
    ):
        return False
    work.db.expire_all()
    keys = list_signing_keys(work.db)
    purpose = next(key.effective_purpose for key in keys if key.kid == kid)
    if find_signer(keys, work.now, purpose) is None:
        create_signing_key(work.db, work.settings, keys, now=work.now, purpose=purpose)
    if purpose is SigningKeyPurpose.ACCESS:
        _advance_global_epoch(work, kid)
    record_event(
        work,
        Event.SIGNING_KEY_REVOKED,
        kid=kid,
        purpose=str(purpose),
        global_epoch=get_global_epoch(work.db),
    )
    return True


def _advance_global_epoch(work: UnitOfWork, kid: str) -> None:
    work.db.execute(
        update(IssuerState)
        .where(IssuerState.id == ISSUER_STATE_ID)
        .values(global_epoch=IssuerState.global_epoch + 1)
    )
    epoch = get_global_epoch(work.db)
    work.db.add(
        Revocation(
            kind=RevocationKind.GLOBAL,
            ref=kid[:32],
            account_id="",
            epoch=epoch,
            roles_version=0,
            status="active",
            at=work.now,
        )
    )
