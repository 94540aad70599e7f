"""Signing keys as rows, the private half sealed. What a key may do is a function of timestamps: nothing has to run for it to change.

Each signs one kind of token and no other (RFC 8725 section 3.12): the keys of a kind follow each other, and know nothing of those
of another.
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

# After it signed its last token a key is still published for the longest life of one, and an hour for clocks and caches.
RETENTION = timedelta(minutes=75)


class SigningKeyPurpose(StrEnum):
    """The kind of token that a key signs, by the `typ` in its header."""

    ACCESS = "at+jwt"
    IDENTITY = "identity+jwt"


class SigningKeyState(StrEnum):
    ANNOUNCED = "announced"  # published, so that every verifier has heard of it before it signs
    SIGNING = "signing"
    RETIRING = "retiring"  # published while tokens of it may live
    RETIRED = "retired"
    REVOKED = "revoked"


PUBLISHED_STATES = frozenset(
    {SigningKeyState.ANNOUNCED, SigningKeyState.SIGNING, SigningKeyState.RETIRING}
)
CURRENT_STATES = frozenset({SigningKeyState.ANNOUNCED, SigningKeyState.SIGNING})


class SigningKey(Base):
    __tablename__ = "signing_keys"
    # Two processes that both see that a key is due make the same generation; the database lets one of them in.
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
    )  # none is what all keys were for before there were kinds: access tokens

    @property
    def effective_purpose(self) -> SigningKeyPurpose:
        return SigningKeyPurpose(self.purpose or SigningKeyPurpose.ACCESS)


def list_signing_keys(db: Session) -> Sequence[SigningKey]:
    """Every key there is, the oldest first."""
    return db.scalars(select(SigningKey).order_by(SigningKey.generation)).all()


def get_key_state(key: SigningKey, keys: Sequence[SigningKey], now: datetime) -> SigningKeyState:
    """What the key may do now. It signs from its own moment until that of the next one, unless that was revoked before it."""
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
    """The key that signs for that purpose now, None where none does and none is announced.

    The first key was announced to nobody before: it signs also for a request, or by a clock, that is behind its making.
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
    """Does or will it come to sign? A key that was revoked after it had begun took the older one's place for good."""
    return key.revoked_at is None or key.revoked_at > key.signs_from


def _get_generation(key: SigningKey) -> int:
    return key.generation


def reseal_signing_keys(db: Session, secret_keys: Sequence[str], now: datetime) -> tuple[int, int]:
    """Seal the private halves under the newest of SECRET_KEY. Returns how many were sealed anew, and how many cannot be opened.

    A key that is retired or revoked signs nothing any more and stays as it is.
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
