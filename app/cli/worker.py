"""`worker`: run the background jobs without serving."""

from __future__ import annotations

import signal
import threading

import click

from app.adapters import logs
from app.cli.start import COMMAND_CAPACITY, load_settings_or_exit
from app.server.background_jobs import BackgroundJobs, ProcessKind
from app.server.worker import CreateApp
from app.unit_of_work import UnitOfWorkFactory

SHUTDOWN_SECONDS = 20.0


@click.command()
@click.pass_obj
def worker(create_app: CreateApp) -> None:
    """Deliver emails and clean up, for DOORWARD_OUTBOX=external. You can run several workers."""
    settings = load_settings_or_exit()
    units: UnitOfWorkFactory = create_app(settings, capacity=COMMAND_CAPACITY).extensions[
        "doorward"
    ]
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    jobs = BackgroundJobs(units, ProcessKind.WORKER)
    jobs.start()
    logs.get_logger("worker").info("worker started", mail=bool(settings.smtp_url))
    stop.wait()
    units.draining.set()
    jobs.stop(timeout=SHUTDOWN_SECONDS)
