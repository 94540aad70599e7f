"""What a process does beside answering: deliver mail, follow the database's clock, sweep what is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from app.adapters import logs
from app.adapters.database import database_now, is_away
from app.commands.sweep import sweep
from app.outbox.deliver import deliver
from app.revocation.watcher import Watcher
from app.signing_keys.rotate import rotate_when_due
from app.unit_of_work import Units

log = logs.get_logger("background")

Chore = Callable[[Units], object]

MAIL_SECONDS = 0.5
WATCH_SECONDS = 0.8
CLOCK_SECONDS = 10.0
SWEEP_SECONDS = 60.0
UNREMARKABLE = timedelta(seconds=1)


class Background:
    """Threads of one process, started after it was forked. One that fails says so and goes on."""

    def __init__(self, units: Units, *, mail: bool, watch: bool) -> None:
        self._units = units
        self._stop = threading.Event()
        chores: list[tuple[Chore, float]] = [(follow_clock, CLOCK_SECONDS), (sweep, SWEEP_SECONDS), (rotate_keys, SWEEP_SECONDS)]
        if mail and units.settings.smtp_url:
            chores.append((deliver, MAIL_SECONDS))
        if watch:
            chores.append((Watcher().watch, WATCH_SECONDS))
        self._threads = [
            threading.Thread(target=self._repeat, args=chore, name=f"doorward-{chore[0].__name__}", daemon=True) for chore in chores
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, *, patience: float) -> None:
        """Let each finish what it is doing, for at most that many seconds."""
        self._stop.set()
        end = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _repeat(self, chore: Chore, pause: float) -> None:
        while True:
            try:
                chore(self._units)
            except Exception as error:  # The thread must outlive whatever happens: a database away for an hour, a full disk.
                if is_away(error):
                    log.warning("chore put off", chore=chore.__name__, fault=type(error).__name__)
                else:
                    log.exception("chore failed", chore=chore.__name__)
            if self._stop.wait(pause):
                return


def follow_clock(units: Units) -> None:
    """Take the time of PostgreSQL for ours, so that all replicas agree when something expires."""
    if units.database.sqlite:
        return
    with units.reading() as work:
        now = database_now(work.db)
        if abs(units.clock.skew(now)) > UNREMARKABLE:
            log.warning("clock is off", seconds=units.clock.skew(now).total_seconds())
        units.clock.correct(now)


def rotate_keys(units: Units) -> None:
    """Announce the next signing key when it is time. Every process asks; the database lets one of them make it."""
    with units.writing() as work:
        rotate_when_due(work)
