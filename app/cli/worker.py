"""`worker`: delivers the outbox and sweeps, without serving."""

from __future__ import annotations

import signal
import threading

import click

from app.adapters import logs
from app.adapters.password_hasher import Capacity
from app.cli.start import CreateApp, load_settings_or_exit
from app.server.background_jobs import BackgroundJobs
from app.unit_of_work import UnitOfWorkFactory

SHUTDOWN_SECONDS = 20.0


@click.command()
@click.pass_obj
def worker(create_app: CreateApp) -> None:
    """Deliver mail and sweep, for DOORWARD_OUTBOX=external. Any number may run at once."""
    logs.configure_logging()
    app = create_app(load_settings_or_exit(), capacity=Capacity(workers=1, threads=1))
    units: UnitOfWorkFactory = app.extensions["doorward"]
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    background = BackgroundJobs(units, mail=True, watch=False)
    background.start()
    logs.get_logger("worker").info("started", mail=bool(units.settings.smtp_url))
    stop.wait()
    units.draining.set()
    background.stop(patience=SHUTDOWN_SECONDS)
