"""Signing keys, with encrypted private keys.

Timestamps determine the state of a key, so it changes without a job that runs. Each key signs one
kind of token (RFC 8725 section 3.12), and the keys of each purpose rotate independently.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import String, Text, UniqueConstraint, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.adapters import encryption
from app.adapters.database import Base

if TYPE_CHECKING:
    from collections.abc import Sequence

# A key stays published after its last signature for the longest token lifetime, plus an hour for
# clock offsets and caches.
RETENTION = timedelta(minutes=75)


class SigningKeyPurpose(StrEnum):
    """The kind of token that a key signs, as in its `typ` header."""

    ACCESS = "at+jwt"
    IDENTITY = "identity+jwt"


class SigningKeyState(StrEnum):
    ANNOUNCED = "announced"  # published, so that every verifier knows it before it signs
    SIGNING = "signing"
    RETIRING = "retiring"  # published while its tokens may be valid
    RETIRED = "retired"
    REVOKED = "revoked"


PUBLISHED_STATES = frozenset(
    {SigningKeyState.ANNOUNCED, SigningKeyState.SIGNING, SigningKeyState.RETIRING}
)
CURRENT_STATES = frozenset({SigningKeyState.ANNOUNCED, SigningKeyState.SIGNING})


class SigningKey(Base):
    __tablename__ = "signing_keys"
    # Two processes that find a key due create the same generation, and the database accepts one.
    __table_args__ = (UniqueConstraint("generation"),)

    kid: Mapped[str] = mapped_column(String(64), primary_key=True)
    generation: Mapped[int]
    algorithm: Mapped[str] = mapped_column(String(16))
    public_jwk: Mapped[dict[str, Any]]
    sealed_private: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    signs_from: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    purpose: Mapped[str | None] = mapped_column(
        String(16)
    )  # None in rows from before there were purposes: access tokens

    @property
    def effective_purpose(self) -> SigningKeyPurpose:
        return SigningKeyPurpose(self.purpose or SigningKeyPurpose.ACCESS)


def list_signing_keys(db: Session) -> Sequence[SigningKey]:
    """Return all keys, the oldest first."""
    return db.scalars(select(SigningKey).order_by(SigningKey.generation)).all()


def get_key_state(key: SigningKey, keys: Sequence[SigningKey], now: datetime) -> SigningKeyState:
    """Return the state of a key. It signs from its start time until the next key does.

    A next key that was revoked before it signed does not count.
    """
    if key.revoked_at is not None:
        return SigningKeyState.REVOKED
    if now < key.signs_from:
        return SigningKeyState.ANNOUNCED
    until = min(
        (
            other.signs_from
            for other in keys
            if _is_successor(other, key) and _has_replaced_predecessor(other)
        ),
        default=None,
    )
    if until is None or now < until:
        return SigningKeyState.SIGNING
    return SigningKeyState.RETIRING if now < until + RETENTION else SigningKeyState.RETIRED


def find_signer(
    keys: Sequence[SigningKey], now: datetime, purpose: SigningKeyPurpose = SigningKeyPurpose.ACCESS
) -> SigningKey | None:
    """Return the key that signs for the purpose, None if none signs or is announced.

    The first key is not announced. It also signs for a process whose clock is behind its creation.
    """
    signing = [
        key
        for key in keys
        if key.effective_purpose is purpose
        and get_key_state(key, keys, now) is SigningKeyState.SIGNING
    ]
    announced = [
        key
        for key in keys
        if key.effective_purpose is purpose
        and get_key_state(key, keys, now) is SigningKeyState.ANNOUNCED
    ]
    return (
        max(signing, key=_get_generation)
        if signing
        else min(announced, key=_get_generation, default=None)
    )


def _is_successor(other: SigningKey, key: SigningKey) -> bool:
    return other.effective_purpose is key.effective_purpose and other.generation > key.generation


def _has_replaced_predecessor(key: SigningKey) -> bool:
    """Return whether the key replaced the one before it, so was not revoked before it signed."""
    return key.revoked_at is None or key.revoked_at > key.signs_from


def _get_generation(key: SigningKey) -> int:
    return key.generation


def reseal_signing_keys(db: Session, secret_keys: Sequence[str], now: datetime) -> tuple[int, int]:
    """Encrypt the private keys under the newest SECRET_KEY.

    Returns the numbers of re-encrypted and unreadable keys.

    Retired and revoked keys stay as they are, because they sign nothing.
    """
    anew = lost = 0
    keys = list_signing_keys(db)
    for row in keys:
        if get_key_state(row, keys, now) not in PUBLISHED_STATES:
            continue
        try:
            sealed = encryption.reseal_if_outdated(
                secret_keys, encryption.KeyPurpose.SIGNING_KEYS, row.sealed_private, row.kid
            )
        except encryption.UnsealError:
            lost += 1
            continue
        if sealed is not None:
            row.sealed_private, anew = sealed, anew + 1
    return anew, lost
