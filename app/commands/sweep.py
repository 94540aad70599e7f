"""Deleting what is over, in small batches, so that no table but the audit trail grows for ever."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from app.api_keys.models import sweep as sweep_api_keys
from app.attempts.models import sweep as sweep_attempts
from app.confirmations.models import sweep as sweep_confirmations
from app.devices.models import sweep as sweep_devices
from app.outbox.models import sweep as sweep_outbox
from app.registration.models import sweep as sweep_registrations
from app.revocation.models import sweep as sweep_revocations
from app.sessions.models import sweep as sweep_sessions

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.unit_of_work import Units

BATCH = 500
ROOMS: tuple[Callable[[Session, datetime, int], int], ...] = (
    sweep_registrations,
    sweep_confirmations,
    sweep_sessions,
    sweep_revocations,
    sweep_outbox,
    sweep_attempts,
    sweep_devices,
    sweep_api_keys,
)


def sweep(units: Units) -> int:
    """Delete what nobody needs any more; each batch is a transaction of its own. Returns how many rows."""
    total = 0
    for room in ROOMS:
        deleted = BATCH
        while deleted == BATCH:
            with units.writing() as work:
                deleted = room(work.db, work.now, BATCH)
            total += deleted
    return total
