"""Reload the signing keys and the global epoch in memory, at most five seconds old."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.credential_status.models import get_global_epoch
from app.signing_keys import ring

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

MAX_AGE_SECONDS = 5.0  # seconds


def reload_stale_signing_keys(work: UnitOfWork, *, ticks: float) -> None:
    """Reload keys and epoch if they are too old. Call this before the first query."""
    if work.signing_keys.get_age_seconds(ticks) >= MAX_AGE_SECONDS:
        reload_signing_keys(work, ticks=ticks)


def reload_signing_keys(work: UnitOfWork, *, ticks: float) -> None:
    """Reload keys and epoch from the database."""
    with work.open_autocommit_session() as db:
        epoch = get_global_epoch(db)
    ring.load_signing_keys(work, global_epoch=epoch, ticks=ticks)
