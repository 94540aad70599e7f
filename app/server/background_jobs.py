"""Background jobs of a process, with the name, interval and database connections of each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from app.adapters import logs
from app.adapters.database import get_database_now, is_database_unavailable
from app.api_keys.expiry_warnings import send_expiry_warnings
from app.api_keys.last_used import flush_last_used
from app.notifications.deliver import deliver_due
from app.server.cache_watcher import CacheWatcher
from app.server.cleanup import delete_expired_data
from app.settings import OutboxMode, Settings
from app.signing_keys.rotate import rotate_due_signing_keys
from app.unit_of_work import UnitOfWorkFactory

log = logs.get_logger("background")

# Differences below this are normal for clocks that are synchronized by NTP.
MAX_IGNORED_SKEW = timedelta(seconds=1)

Task = Callable[[], object]
IsStopping = Callable[[], bool]


class ProcessKind(StrEnum):
    SERVER = "server"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Job:
    """A task that a process repeats in a thread of its own.

    `build` is called once per process and returns the task. `runs_on_exit` runs it once more
    when the process stops.
    """

    name: str
    interval: float  # seconds between two runs
    build: Callable[[UnitOfWorkFactory, IsStopping], Task]
    connections: int = 1
    runs_on_exit: bool = False
    is_enabled: Callable[[Settings, ProcessKind], bool] = lambda _settings, _kind: True


def synchronize_clock(units: UnitOfWorkFactory) -> None:
    """Set the clock to the time of PostgreSQL, so that all replicas agree when tokens expire."""
    if units.database.sqlite:
        return
    with units.open_read_only() as work:
        now = get_database_now(work.db)
        skew = units.clock.get_skew(now)
        if abs(skew) > MAX_IGNORED_SKEW:
            log.warning("clock differs from the database", seconds=skew.total_seconds())
        units.clock.synchronize(now)


def rotate_signing_keys(units: UnitOfWorkFactory) -> None:
    """Announce the next signing key if it is due. The database lets a single process create it."""
    with units.open_read_write() as work:
        rotate_due_signing_keys(work)


def _build_delivery(units: UnitOfWorkFactory, is_stopping: IsStopping) -> Task:
    return lambda: deliver_due(units, is_stopping=is_stopping)


def _build_watcher(units: UnitOfWorkFactory, _is_stopping: IsStopping) -> Task:
    watcher = CacheWatcher()
    return lambda: watcher.watch(units)


def _delivers_mail(settings: Settings, kind: ProcessKind) -> bool:
    return bool(settings.smtp_url) and (
        kind is ProcessKind.WORKER or settings.outbox is OutboxMode.INSIDE
    )


def _serves(_settings: Settings, kind: ProcessKind) -> bool:
    return kind is ProcessKind.SERVER


JOBS = (
    Job("clock", 10.0, lambda units, _stop: lambda: synchronize_clock(units)),
    Job("cleanup", 60.0, lambda units, _stop: lambda: delete_expired_data(units)),
    Job("key rotation", 60.0, lambda units, _stop: lambda: rotate_signing_keys(units)),
    Job(
        "API key usage",
        60.0,
        lambda units, _stop: lambda: flush_last_used(units),
        runs_on_exit=True,
    ),
    Job("API key expiry", 60.0, lambda units, _stop: lambda: send_expiry_warnings(units)),
    Job("mail", 0.5, _build_delivery, is_enabled=_delivers_mail),
    Job("cache watcher", 0.8, _build_watcher, is_enabled=_serves),
)


def count_job_connections() -> int:
    """Return how many database connections the jobs of a process use at the same time."""
    return sum(job.connections for job in JOBS)


class BackgroundJobs:
    """Threads that run the jobs of a process. Start them after the fork.

    A job that fails is logged and runs again.
    """

    def __init__(self, units: UnitOfWorkFactory, kind: ProcessKind) -> None:
        self._units = units
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._repeat,
                args=(job, job.build(units, self._is_stopping)),
                name=f"doorward-{job.name}",
                daemon=True,
            )
            for job in JOBS
            if job.is_enabled(units.settings, kind)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, *, timeout: float) -> None:
        """Let each job finish its current run, for at most `timeout` seconds in total."""
        self._stop.set()
        end = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _is_stopping(self) -> bool:
        return self._stop.is_set() or self._units.draining.is_set()

    def _repeat(self, job: Job, task: Task) -> None:
        _run_once(job, task)
        while not self._stop.wait(job.interval):
            _run_once(job, task)
        if job.runs_on_exit:
            _run_once(job, task)


def _run_once(job: Job, task: Task) -> None:
    try:
        task()
    except Exception as error:
        # The thread must survive every error: a database that is away for an hour, a full disk.
        if is_database_unavailable(error):
            log.warning("job postponed", job=job.name, fault=type(error).__name__)
        else:
            log.exception("job failed", job=job.name)
