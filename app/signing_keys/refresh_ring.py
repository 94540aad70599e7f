"""What each process holds in memory: the signing keys and the global epoch, never older than five seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.credential_status.models import get_global_epoch
from app.signing_keys import ring

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork

MAX_AGE_SECONDS = 5.0  # seconds


def reload_stale_signing_keys(work: UnitOfWork, *, ticks: float) -> None:
    """Read keys and epoch again when they are too old to be relied on. Call it before the unit's first query."""
    if work.signing_keys.get_age_seconds(ticks) >= MAX_AGE_SECONDS:
        reload_signing_keys(work, ticks=ticks)


def reload_signing_keys(work: UnitOfWork, *, ticks: float) -> None:
    """Read keys and epoch from the database now."""
    with work.open_autocommit_session() as db:
        epoch = get_global_epoch(db)
    ring.load_signing_keys(work, global_epoch=epoch, ticks=ticks)
