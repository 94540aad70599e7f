"""Create signing keys. Each is announced before it signs, so that verifiers know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.adapters import encryption
from app.adapters.jwt import generate_key_pair, to_pem
from app.adapters.statements import insert_if_absent
from app.audit.record import Event, record_system_event
from app.opaque_tokens import generate_id
from app.signing_keys.models import (
    SigningKey,
    SigningKeyPurpose,
    SigningKeyState,
    find_signer,
    get_key_state,
    list_signing_keys,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy.orm import Session

    from app.settings import Settings
    from app.unit_of_work import UnitOfWork


def list_required_purposes(settings: Settings) -> tuple[SigningKeyPurpose, ...]:
    """Return the purposes that need a key. Identity keys exist only if a policy has an audience."""
    return (
        tuple(SigningKeyPurpose)
        if any(policy.audience for policy in settings.policies.values())
        else (SigningKeyPurpose.ACCESS,)
    )


def get_announcement_period(settings: Settings) -> timedelta:
    """Return how long a key is published before it signs: two lifetimes of a verifier's cache."""
    return 2 * settings.jwks_max_age


def rotate_signing_key(
    work: UnitOfWork, purpose: SigningKeyPurpose = SigningKeyPurpose.ACCESS
) -> SigningKey | None:
    """Create and announce the next key.

    Returns None if one is already announced or another process was faster.
    """
    keys = list_signing_keys(work.db)
    if any(
        key.effective_purpose is purpose
        and get_key_state(key, keys, work.now) is SigningKeyState.ANNOUNCED
        for key in keys
    ):
        return None
    return create_signing_key(work.db, work.settings, keys, now=work.now, purpose=purpose)


def rotate_due_signing_keys(work: UnitOfWork) -> list[SigningKey]:
    """Rotate the keys whose successor must be announced now. Returns the new keys."""
    made = [
        rotate_signing_key(work, purpose)
        for purpose in list_required_purposes(work.settings)
        if _is_due(work, purpose)
    ]
    return [key for key in made if key is not None]


def _is_due(work: UnitOfWork, purpose: SigningKeyPurpose) -> bool:
    signing = find_signer(list_signing_keys(work.db), work.now, purpose)
    return (
        signing is not None
        and work.now
        >= signing.signs_from + work.settings.key_rotation - get_announcement_period(work.settings)
    )


def create_signing_key(
    db: Session,
    settings: Settings,
    keys: Sequence[SigningKey],
    *,
    now: datetime,
    purpose: SigningKeyPurpose,
) -> SigningKey | None:
    """Create a key for the configured algorithm.

    Of several processes, one succeeds; the others get None.

    It signs at once if no other key of its purpose can sign.
    """
    private, public = generate_key_pair(settings.signing_algorithm)
    kid = generate_id("key").removeprefix("key_")
    values = {
        "kid": kid,
        "generation": 1 + max((key.generation for key in keys), default=0),
        "algorithm": str(settings.signing_algorithm),
        "public_jwk": {**public, "kid": kid, "use": "sig", "alg": str(settings.signing_algorithm)},
        "sealed_private": encryption.seal(
            settings.secret_key, encryption.KeyPurpose.SIGNING_KEYS, to_pem(private), kid
        ),
        "created_at": now,
        "signs_from": now + get_announcement_period(settings)
        if find_signer(keys, now, purpose)
        else now,
        "revoked_at": None,
        "purpose": str(purpose),
    }
    if not insert_if_absent(db, SigningKey, **values):
        return None
    record_system_event(
        db,
        now,
        Event.SIGNING_KEY_CREATED,
        kid=kid,
        algorithm=str(settings.signing_algorithm),
        purpose=str(purpose),
    )
    return SigningKey(**values)
