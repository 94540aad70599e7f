"""The watcher: one in every serving process, which repeats to Redis what the database says has ended.

It mends a crash between commit and publish, a publish that failed, a flush, a failover to an older copy, and a fill that came
late. Revocations carry numbers that commit out of order, so it reads a window that is longer than any transaction.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from app.adapters import logs
from app.adapters.cache import CacheUnavailable
from app.credential_status.models import list_revocations_since
from app.credential_status.publish import publish_revocation
from app.credential_status.session_cache import ADVANCE_CANARY, CANARY_KEY, MAX_ENTRY_AGE
from app.signing_keys.refresh_ring import reload_signing_keys

if TYPE_CHECKING:
    from app.unit_of_work import UnitOfWork, UnitOfWorkFactory

MAX_TRANSACTION = timedelta(seconds=15)
# Whatever Redis may still hold as valid was filled within the positive life; twice that is to spare.
MAX_WINDOW = 2 * MAX_ENTRY_AGE

log = logs.get_logger("watcher")


class CacheWatcher:
    """Remembers what it has published and which canary it heard last."""

    def __init__(self) -> None:
        self._published: dict[int, datetime] = {}
        self._reached: datetime | None = None
        self._heard = 0

    def watch(self, units: UnitOfWorkFactory) -> None:
        """One round: keys and epoch into memory, revocations out to Redis."""
        began = units.clock.get_monotonic_time()
        with units.open_read_only() as work:
            reload_signing_keys(work, ticks=began)
            if work.cache.is_configured:
                try:
                    self._publish(work, began)
                except CacheUnavailable as away:
                    log.warning("not published", fault=type(away.__cause__).__name__)

    def _publish(self, work: UnitOfWork, began: float) -> None:
        heard = _read_canary(work)
        if heard is None or heard < self._heard:
            self._tell_again()
        with work.open_autocommit_session() as db:
            revocations = list_revocations_since(db, work.now - self._window(work.now))
        for row in revocations:
            if row.id not in self._published:
                publish_revocation(work.cache, work.settings, row, patient=True)
                self._published[row.id] = row.at
        held, self._heard = _advance_canary(work)
        if held < (heard or 0):
            self._tell_again()  # in the next round: a failover in this one, and what was told may have gone to either copy
            return
        self._reached = work.now
        work.cache.confirm_written(began)
        self._published = {
            number: at for number, at in self._published.items() if at > work.now - 2 * MAX_WINDOW
        }

    def _tell_again(self) -> None:
        """A flush or a restart leaves no canary, a failover to an older copy an older one."""
        log.warning("cache lost its memory, telling it again")
        self._published.clear()
        self._reached = None

    def _window(self, now: datetime) -> timedelta:
        """How far back to look: to the last round that reached Redis, and as long before it as a transaction may last."""
        unheard = now - self._reached if self._reached else MAX_WINDOW
        return min(unheard, MAX_WINDOW) + MAX_TRANSACTION


def _read_canary(work: UnitOfWork) -> int | None:
    """The canary, None when it is gone."""
    held = work.cache.call(lambda client: client.get(CANARY_KEY), bypass_breaker=True)
    return int(held) if held is not None else None


def _advance_canary(work: UnitOfWork) -> tuple[int, int]:
    """Sing anew, in one step with hearing what was there: of all processes the first on an older copy notices. What it was, and is."""
    said = work.cache.run_script(
        ADVANCE_CANARY, [CANARY_KEY], [int(work.now.timestamp() * 1000)], bypass_breaker=True
    )
    held, sung = said.split()  # type: ignore[attr-defined] # the script returns two numbers in digits
    return int(held), int(sung)
