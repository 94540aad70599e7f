"""Deletion of expired rows in small batches. Only the audit log grows without limit."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from app.api_keys.models import sweep as delete_expired_keys
from app.authentication.throttling.models import delete_expired as delete_expired_attempts
from app.authentication.trusted_devices.models import delete_expired as delete_expired_devices
from app.confirmations.models import delete_expired as delete_expired_confirmations
from app.credential_status.models import delete_old_revocations
from app.device_login.models import delete_expired_device_logins
from app.lifecycle.erase import BATCH_SIZE as ERASE_BATCH_SIZE
from app.lifecycle.erase import erase_deleted_accounts
from app.notifications.outbox.models import delete_old_deliveries
from app.registration.models import delete_expired as delete_expired_registrations
from app.sessions.models import delete_old_sessions

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from app.unit_of_work import UnitOfWorkFactory

BATCH_SIZE = 500
CLEANUP_STEPS: tuple[Callable[[Session, datetime, int], int], ...] = (
    delete_expired_registrations,
    delete_expired_confirmations,
    delete_old_sessions,
    delete_expired_device_logins,
    delete_old_revocations,
    delete_old_deliveries,
    delete_expired_attempts,
    delete_expired_devices,
    delete_expired_keys,
)


def delete_expired_data(units: UnitOfWorkFactory) -> int:
    """Delete expired rows and erase deleted accounts, one transaction per batch.

    Returns the number of rows and accounts.
    """
    total = 0
    for delete_batch in CLEANUP_STEPS:
        deleted = BATCH_SIZE
        while deleted == BATCH_SIZE:
            with units.open_read_write() as work:
                deleted = delete_batch(work.db, work.now, BATCH_SIZE)
            total += deleted
    return total + _erase_accounts(units)


def _erase_accounts(units: UnitOfWorkFactory) -> int:
    total, erased = 0, ERASE_BATCH_SIZE
    while erased == ERASE_BATCH_SIZE:
        with units.open_read_write() as work:
            erased = erase_deleted_accounts(work)
        total += erased
    return total
