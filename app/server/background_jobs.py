"""What a process does beside answering: deliver mail, follow the database's clock, sweep what is over."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

from app.adapters import logs
from app.adapters.database import get_database_now, is_database_unavailable
from app.api_keys.expiry_warnings import send_expiry_warnings
from app.api_keys.last_used import flush_last_used
from app.notifications.deliver import deliver_due
from app.server.cache_watcher import CacheWatcher
from app.server.cleanup import delete_expired_data
from app.signing_keys.rotate import rotate_due_signing_keys
from app.unit_of_work import UnitOfWorkFactory

log = logs.get_logger("background")

MAIL_SECONDS = 0.5
WATCH_SECONDS = 0.8
CLOCK_SECONDS = 10.0
SWEEP_SECONDS = 60.0
KEYS_SECONDS = 60.0
MAX_IGNORED_SKEW = timedelta(seconds=1)


class BackgroundJobs:
    """Threads of one process, started after it was forked. One that fails says so and goes on."""

    def __init__(self, units: UnitOfWorkFactory, *, mail: bool, watch: bool) -> None:
        self._units = units
        self._stop = threading.Event()
        self._threads = [
            self._thread("clock", lambda: synchronize_clock(units), CLOCK_SECONDS),
            self._thread("sweep", lambda: delete_expired_data(units), SWEEP_SECONDS),
            self._thread("rotation", lambda: rotate_signing_keys(units), SWEEP_SECONDS),
            self._thread("key uses", lambda: flush_last_used(units), KEYS_SECONDS, at_the_end=True),
            self._thread("key warnings", lambda: send_expiry_warnings(units), KEYS_SECONDS),
        ]
        if mail and units.settings.smtp_url:
            self._threads.append(
                self._thread(
                    "mail", lambda: deliver_due(units, is_stopping=self._ending), MAIL_SECONDS
                )
            )
        if watch:
            watcher = CacheWatcher()
            self._threads.append(
                self._thread("watcher", lambda: watcher.watch(units), WATCH_SECONDS)
            )

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, *, patience: float) -> None:
        """Let each finish what it is doing, for at most that many seconds."""
        self._stop.set()
        end = time.monotonic() + patience
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _ending(self) -> bool:
        return self._stop.is_set() or self._units.draining.is_set()

    def _thread(
        self, name: str, chore: Callable[[], object], pause: float, *, at_the_end: bool = False
    ) -> threading.Thread:
        """`at_the_end`: once more when the process is asked to stop."""
        return threading.Thread(
            target=self._repeat,
            args=(name, chore, pause, at_the_end),
            name=f"doorward-{name}",
            daemon=True,
        )

    def _repeat(
        self, name: str, chore: Callable[[], object], pause: float, at_the_end: bool
    ) -> None:
        _run_once(name, chore)
        while not self._stop.wait(pause):
            _run_once(name, chore)
        if at_the_end:
            _run_once(name, chore)


def _run_once(name: str, chore: Callable[[], object]) -> None:
    try:
        chore()
    except Exception as error:  # The thread must outlive whatever happens: a database away for an hour, a full disk.
        if is_database_unavailable(error):
            log.warning("chore postponed", chore=name, fault=type(error).__name__)
        else:
            log.exception("chore failed", chore=name)


def synchronize_clock(units: UnitOfWorkFactory) -> None:
    """Take the time of PostgreSQL for ours, so that all replicas agree when something expires."""
    if units.database.sqlite:
        return
    with units.open_read_only() as work:
        now = get_database_now(work.db)
        if abs(units.clock.get_skew(now)) > MAX_IGNORED_SKEW:
            log.warning("clock is off", seconds=units.clock.get_skew(now).total_seconds())
        units.clock.synchronize(now)


def rotate_signing_keys(units: UnitOfWorkFactory) -> None:
    """Announce the next signing key when it is time. Every process asks; the database lets one of them make it."""
    with units.open_read_write() as work:
        rotate_due_signing_keys(work)
