"""Deleting what is over, in small batches, so that no table but the audit trail grows for ever."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from app.api_keys.models import sweep as sweep_api_keys
from app.authentication.throttling.models import delete_expired as sweep_attempts
from app.authentication.trusted_devices.models import delete_expired as sweep_devices
from app.confirmations.models import delete_expired as sweep_confirmations
from app.credential_status.models import delete_old_revocations as sweep_revocations
from app.device_login.models import delete_expired_device_logins as sweep_login_sessions
from app.lifecycle.erase import BATCH_SIZE as ERASED_AT_ONCE
from app.lifecycle.erase import erase_deleted_accounts
from app.notifications.outbox.models import delete_old_deliveries as sweep_outbox
from app.registration.models import delete_expired as sweep_registrations
from app.sessions.models import delete_old_sessions as sweep_sessions

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.unit_of_work import UnitOfWorkFactory

BATCH = 500
CLEANUP_STEPS: tuple[Callable[[Session, datetime, int], int], ...] = (
    sweep_registrations,
    sweep_confirmations,
    sweep_sessions,
    sweep_login_sessions,
    sweep_revocations,
    sweep_outbox,
    sweep_attempts,
    sweep_devices,
    sweep_api_keys,
)


def delete_expired_data(units: UnitOfWorkFactory) -> int:
    """Delete what nobody needs any more; each batch is a transaction of its own. Returns how many rows and accounts."""
    total = 0
    for room in CLEANUP_STEPS:
        deleted = BATCH
        while deleted == BATCH:
            with units.open_read_write() as work:
                deleted = room(work.db, work.now, BATCH)
            total += deleted
    return total + _erase(units)


def _erase(units: UnitOfWorkFactory) -> int:
    """Erase accounts whose time is over, a few in each transaction."""
    total, erased = 0, ERASED_AT_ONCE
    while erased == ERASED_AT_ONCE:
        with units.open_read_write() as work:
            erased = erase_deleted_accounts(work)
        total += erased
    return total
