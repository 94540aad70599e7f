"""Making the next signing key: announced first, so that no verifier meets a token whose key it has not heard of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.adapters import sealing
from app.adapters.database import insert_if_absent
from app.adapters.jwt import new_key, to_pem
from app.adapters.sealing import Purpose
from app.audit.record import Event, record_outside
from app.opaque_tokens import new_id
from app.signing_keys.models import SigningKey, State, all_keys, signer, state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy.orm import Session

    from app.settings import Settings
    from app.unit_of_work import UnitOfWork


def announcement(settings: Settings) -> timedelta:
    """How long a key is published before it signs: two lives of a verifier's cache."""
    return 2 * settings.jwks_max_age


def rotate(work: UnitOfWork) -> SigningKey | None:
    """Make the next key and announce it. Returns it, None where one is announced already or another process was quicker."""
    keys = all_keys(work.db)
    if any(state(key, keys, work.now) is State.ANNOUNCED for key in keys):
        return None
    return make(work.db, work.settings, keys, now=work.now)


def rotate_when_due(work: UnitOfWork) -> SigningKey | None:
    """Rotate in time for the next key to sign when the present one has signed for KEY_ROTATION."""
    signing = signer(all_keys(work.db), work.now)
    if signing is None or work.now < signing.signs_from + work.settings.key_rotation - announcement(work.settings):
        return None
    return rotate(work)


def make(db: Session, settings: Settings, keys: Sequence[SigningKey], *, now: datetime) -> SigningKey | None:
    """Make one key of the algorithm that is set. Of many processes at once, one gets it in; the others get None.

    Where there is no other it signs at once: the very first, or after all were revoked.
    """
    private, public = new_key(settings.signing_algorithm)
    kid = new_id("key").removeprefix("key_")
    values = {
        "kid": kid,
        "generation": 1 + max((key.generation for key in keys), default=0),
        "algorithm": str(settings.signing_algorithm),
        "public_jwk": {**public, "kid": kid, "use": "sig", "alg": str(settings.signing_algorithm)},
        "sealed_private": sealing.seal(settings.secret_key, Purpose.SIGNING_KEYS, to_pem(private), kid),
        "created_at": now,
        "signs_from": now + announcement(settings) if signer(keys, now) else now,
        "revoked_at": None,
    }
    if not insert_if_absent(db, SigningKey, **values):
        return None
    record_outside(db, now, Event.SIGNING_KEY_CREATED, kid=kid, algorithm=str(settings.signing_algorithm))
    return SigningKey(**values)
