"""The cache watcher of each serving process. It repeats the revocations in the database to Redis.

It repairs a crash between commit and publish, a failed publish, a flush, a failover to an older
copy and a late cache fill. Ids of revocations become visible out of order, so it reads a window
that is longer than any transaction.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from app.adapters import logs
from app.adapters.cache import CacheUnavailable
from app.credential_status.models import list_revocations_since
from app.credential_status.publish import publish_revocation
from app.credential_status.session_cache import ADVANCE_CANARY, CANARY_KEY, MAX_ENTRY_AGE
from app.signing_keys.load import load_signing_keys

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork, UnitOfWorkFactory

MAX_TRANSACTION = timedelta(seconds=15)
# Redis may hold positive entries for MAX_ENTRY_AGE; twice that is a safe margin.
MAX_WINDOW = 2 * MAX_ENTRY_AGE

log = logs.get_logger("watcher")


class CacheWatcher:
    """Tracks the published revocations and the last canary value."""

    def __init__(self) -> None:
        self._published: dict[int, datetime] = {}
        self._reached: datetime | None = None
        self._heard = 0

    def watch(self, units: UnitOfWorkFactory) -> None:
        """Reload keys and epoch, and publish new revocations."""
        began = units.clock.get_monotonic_time()
        with units.open_read_only() as work:
            load_signing_keys(work, ticks=began)
            if work.cache.is_configured:
                try:
                    self._publish(work, began)
                except CacheUnavailable as away:
                    log.warning(
                        "revocations cannot be published", fault=type(away.__cause__).__name__
                    )

    def _publish(self, work: UnitOfWork, began: float) -> None:
        heard = _read_canary(work)
        if heard is None or heard < self._heard:
            self._republish_all()
        with work.open_autocommit_session() as db:
            revocations = list_revocations_since(db, work.now - self._window(work.now))
        for row in revocations:
            if row.id not in self._published:
                publish_revocation(work.cache, work.settings, row, patient=True)
                self._published[row.id] = row.at
        held, self._heard = _advance_canary(work)
        if held < (heard or 0):
            # A failover happened during this run, and either copy may have the revocations: repeat
            # them.
            self._republish_all()
            return
        self._reached = work.now
        work.cache.confirm_written(began)
        self._published = {
            number: at for number, at in self._published.items() if at > work.now - 2 * MAX_WINDOW
        }

    def _republish_all(self) -> None:
        """Repeat all revocations.

        A flush or restart leaves no canary value, a restored copy an older one.
        """
        log.warning("cache lost data, publishing all revocations again")
        self._published.clear()
        self._reached = None

    def _window(self, now: datetime) -> timedelta:
        """Return how far back to read: to the last successful run, plus the longest transaction."""
        unheard = now - self._reached if self._reached else MAX_WINDOW
        return min(unheard, MAX_WINDOW) + MAX_TRANSACTION


def _read_canary(work: UnitOfWork) -> int | None:
    """Return the canary value, None if it is missing."""
    held = work.cache.call(lambda client: client.get(CANARY_KEY), bypass_breaker=True)
    return int(held) if held is not None else None


def _advance_canary(work: UnitOfWork) -> tuple[int, int]:
    """Increase the canary value and return the previous and the new one, in one step.

    Of all processes, the first that uses an older copy detects it.
    """
    said = work.cache.run_script(
        ADVANCE_CANARY, [CANARY_KEY], [int(work.now.timestamp() * 1000)], bypass_breaker=True
    )
    held, sung = said.split()  # type: ignore[attr-defined] # the script returns two numbers in digits
    return int(held), int(sung)
