"""Credentials that were checked before, with the cache entries and the result of the last check."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.adapters.jwt import Claims
    from app.principal import Principal
    from app.verification.credentials import PresentedCredential

MAX_KNOWN = 8192

Entry = bytes | None


@dataclass(slots=True)
class Verified:
    """The principal of a credential. `prepared` holds what responses derive from it alone."""

    principal: Principal
    prepared: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class KnownToken:
    """An access token of a session, with the result for the entries that were read last."""

    presented: PresentedCredential
    claims: Claims
    generation: object
    command: bytes
    account: Entry = None
    session: Entry = None
    ends: float = 0.0
    verified: Verified | None = None


@dataclass(slots=True)
class KnownKey:
    """An API key, with the result for the entries that were read last."""

    owner: str
    entry: Entry = None
    account: Entry = None
    verified: Verified | None = None


def make_room(known: dict[Any, Any]) -> None:
    """Forget the oldest entry of a full memory."""
    if len(known) >= MAX_KNOWN:
        del known[next(iter(known))]
