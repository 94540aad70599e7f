"""Signing keys as rows, the private half sealed. What a key may do is a function of its timestamps."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.adapters.database import Base


class SigningKey(Base):
    __tablename__ = "signing_keys"
    # Two processes that both see that a key is missing make the same generation; the database lets one of them in.
    __table_args__ = (UniqueConstraint("generation"),)

    kid: Mapped[str] = mapped_column(String(64), primary_key=True)
    generation: Mapped[int]
    algorithm: Mapped[str] = mapped_column(String(16))
    public_jwk: Mapped[dict[str, Any]]
    sealed_private: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
    signs_from: Mapped[datetime]

    def signs_at(self, now: datetime) -> bool:
        """Has every verifier had time to hear of it?"""
        return self.signs_from <= now
