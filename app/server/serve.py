"""`serve`: the service under gunicorn."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from gunicorn.app.base import Application
from gunicorn.glogging import Logger

from app.adapters import logs
from app.adapters.password_hasher import Capacity
from app.cli.db import find_schema_problem, upgrade_or_exit
from app.cli.start import (
    EXIT_SCHEMA,
    EXIT_SETTINGS,
    CreateApp,
    load_settings_or_exit,
    prepare_database,
)
from app.server.background_jobs import BackgroundJobs
from app.settings import DocsMode, OutboxMode, Settings

if TYPE_CHECKING:
    from flask import Flask

GUNICORN_CONFIG = Path(__file__).resolve().parents[2] / "config" / "gunicorn.conf.py"
DEFAULT_BIND = "127.0.0.1:8080"  # that of the Makefile too
SHUTDOWN_SECONDS = (
    3.0  # seconds for mail that is being sent; what takes longer keeps its lease and is sent again
)
QUICK_SHUTDOWN_SECONDS = 0.5

log = logs.get_logger("serve")


class GunicornLogger(Logger):  # type: ignore[misc] # gunicorn is untyped
    """gunicorn's own words through our log, warnings and worse."""

    def setup(self, cfg: Any) -> None:  # noqa: ARG002 - gunicorn's signature
        self.error_log.propagate = True
        self.error_log.handlers.clear()
        self.access_log.handlers.clear()


class GunicornServer(Application):  # type: ignore[misc] # gunicorn is untyped
    """The service as gunicorn runs it: config/gunicorn.conf.py first, the command line over it."""

    def __init__(
        self, create_app: CreateApp, settings: Settings, capacity: Capacity, *, bind: str
    ) -> None:
        self._create_app, self._settings, self._capacity, self._bind = (
            create_app,
            settings,
            capacity,
            bind,
        )
        self._background: BackgroundJobs | None = None
        super().__init__()

    def load_config(self) -> None:
        if GUNICORN_CONFIG.exists():
            self.load_config_from_file(str(GUNICORN_CONFIG))
        chosen = {
            "bind": self._bind,
            "workers": self._capacity.workers,
            "threads": self._capacity.threads,
            "worker_class": "app.server.gunicorn_worker.Worker",
            "logger_class": GunicornLogger,
            "preload_app": False,
            "control_socket_disable": True,
            "when_ready": self._ready,
            "post_worker_init": self._begin,
            "worker_exit": self._end,
        }
        for name, value in chosen.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._create_app(self._settings, capacity=self._capacity)

    def _ready(self, _server: object) -> None:
        log.info(
            "serving",
            bind=self._bind,
            workers=self._capacity.workers,
            threads=self._capacity.threads,
        )
        if not self._settings.is_production:
            click.echo(build_banner(self._settings, self._bind))

    def _begin(self, worker: Any) -> None:
        """Threads start here, after the fork: one that was started before would live in the parent alone."""
        units = worker.wsgi.extensions["doorward"]
        self._background = BackgroundJobs(
            units, mail=self._settings.outbox is OutboxMode.INSIDE, watch=True
        )
        self._background.start()

    def _end(self, _server: object, worker: Any) -> None:
        """The last act of a worker. The parent calls this too, for one that is gone already."""
        if self._background is None:
            return
        self._background.stop(
            patience=QUICK_SHUTDOWN_SECONDS if worker.is_quitting else SHUTDOWN_SECONDS
        )
        if worker.is_stopping:
            # The interpreter would wait for threads that still hash, or still read from a slow client, until the parent kills it.
            sys.stdout.flush()
            os._exit(0)


@click.command()
@click.option("--bind", default=DEFAULT_BIND, show_default=True, help="HOST:PORT to listen on.")
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Serving processes."
)
@click.option(
    "--threads",
    default=8,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Threads of each process.",
)
@click.option("--migrate", is_flag=True, help="Bring the schema up to date first.")
@click.pass_obj
def serve(create_app: CreateApp, *, bind: str, workers: int, threads: int, migrate: bool) -> None:
    """Serve, and deliver mail from inside unless DOORWARD_OUTBOX=external."""
    logs.configure_logging()
    settings = load_settings_or_exit(
        lambda: Settings.from_environment(
            default_public_url=f"http://{bind}".replace("//0.0.0.0", "//127.0.0.1")
        )
    )
    if settings.uses_sqlite and workers > 1:
        click.echo(
            "DOORWARD_DATABASE_URL: SQLite serves one process; use PostgreSQL, or --workers 1.",
            err=True,
        )
        sys.exit(EXIT_SETTINGS)
    if settings.is_production and workers > 1 and settings.redis_url is None:
        click.echo("DOORWARD_REDIS_URL: is required in production with --workers over 1.", err=True)
        sys.exit(EXIT_SETTINGS)
    prepare_database(settings)
    if migrate:
        upgrade_or_exit(settings)
    fault = find_schema_problem(settings)
    if fault:
        click.echo(fault, err=True)
        sys.exit(EXIT_SCHEMA)
    GunicornServer(
        create_app, settings, Capacity(workers=workers, threads=threads), bind=bind
    ).run()


def build_banner(settings: Settings, bind: str) -> str:
    """What a newcomer wants to know."""
    lines = [f"Doorward answers at {settings.public_url}"]
    if settings.docs is DocsMode.PUBLIC:
        lines.append(f"  the interface:  {settings.public_url}/docs")
    if settings.smtp_url is None:
        lines.append(f"  your mail:      {settings.public_url}/dev/mailbox")
    lines.append(f"  people sign in: {settings.public_url}/login")
    lines.append(
        f"  first admin:    make admin NAME=U EMAIL=E{'' if bind == DEFAULT_BIND else f' BIND={bind}'}"
    )
    lines.append(
        "                  or, with the settings of this process: python -m app bootstrap-admin --username U --email E"
    )
    lines.append("  to end it:      Ctrl-C")
    return "\n".join(lines)
