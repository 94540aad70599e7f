"""The watcher: one in every serving process, which repeats to Redis what the database says has ended.

It mends a crash between commit and publish, a publish that failed, a flush, a failover to an older copy, and a fill that came
late. Revocations carry numbers that commit out of order, so it reads a window that is longer than any transaction.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from app.adapters import logs
from app.adapters.cache import CacheAway
from app.revocation.issuer import read_again
from app.revocation.models import Revocation
from app.revocation.publish import publish
from app.revocation.view import CANARY, POSITIVE, SING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.unit_of_work import UnitOfWork, Units

LONGEST_TRANSACTION = timedelta(seconds=15)
# Whatever Redis may still hold as valid was filled within the positive life; twice that is to spare.
WHOLE_WINDOW = 2 * POSITIVE

log = logs.get_logger("watcher")


class Watcher:
    """Remembers what it has published and which canary it heard last."""

    def __init__(self) -> None:
        self._published: dict[int, datetime] = {}
        self._reached: datetime | None = None
        self._heard = 0

    def watch(self, units: Units) -> None:
        """One round: keys and epoch into memory, revocations out to Redis."""
        with units.reading() as work:
            read_again(work, ticks=units.clock.ticks())
            if work.cache.used:
                try:
                    self._publish(work)
                except CacheAway as away:
                    log.warning("not published", fault=type(away.__cause__).__name__)

    def _publish(self, work: UnitOfWork) -> None:
        if self._canary_is_gone(work):
            log.warning("cache lost its memory, telling it again")
            self._published.clear()
            self._reached = None
        for row in _since(work, work.now - self._window(work.now)):
            if row.id not in self._published:
                publish(work.cache, work.settings, row, patient=True)
                self._published[row.id] = row.at
        self._heard = _sing(work)
        self._reached = work.now
        work.cache.vouch()
        self._published = {number: at for number, at in self._published.items() if at > work.now - 2 * WHOLE_WINDOW}

    def _window(self, now: datetime) -> timedelta:
        """How far back to look: to the last round that reached Redis, and as long before it as a transaction may last."""
        unheard = now - self._reached if self._reached else WHOLE_WINDOW
        return min(unheard, WHOLE_WINDOW) + LONGEST_TRANSACTION

    def _canary_is_gone(self, work: UnitOfWork) -> bool:
        """A flush or a restart leaves no canary, a failover to an older copy an older one."""
        held = work.cache.guarded(lambda client: client.get(CANARY), patient=True)
        return held is None or int(held) < self._heard


def _sing(work: UnitOfWork) -> int:
    sung = work.cache.run(SING, [CANARY], [int(work.now.timestamp() * 1000)], patient=True)
    return int(sung)  # type: ignore[call-overload,no-any-return] # the script returns digits


def _since(work: UnitOfWork, moment: datetime) -> Sequence[Revocation]:
    with work.aside() as db:
        return db.scalars(select(Revocation).where(Revocation.at >= moment).order_by(Revocation.at)).all()
