"""The gunicorn server that runs the service."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click
from gunicorn.app.base import Application
from gunicorn.glogging import Logger

from app.adapters import logs
from app.adapters.password_hasher import Capacity
from app.server.background_jobs import BackgroundJobs, ProcessKind
from app.settings import DocsMode, Settings

if TYPE_CHECKING:
    from flask import Flask

GUNICORN_CONFIG = Path(__file__).resolve().parents[2] / "config" / "gunicorn.conf.py"
DEFAULT_BIND = "127.0.0.1:8080"  # also in the Makefile
# For emails that are being sent. A delivery that takes longer keeps its lease and is sent again.
SHUTDOWN_SECONDS = 3.0
QUICK_SHUTDOWN_SECONDS = 0.5

log = logs.get_logger("serve")


class CreateApp(Protocol):
    """The application factory. __main__ passes it in, so that commands do not import it."""

    def __call__(self, settings: Settings, *, capacity: Capacity | None = None) -> Flask: ...


class GunicornLogger(Logger):  # type: ignore[misc] # gunicorn is untyped
    """Logger that passes warnings and errors of gunicorn to the log of the service."""

    def setup(self, cfg: Any) -> None:  # noqa: ARG002 - gunicorn's signature
        self.error_log.propagate = True
        self.error_log.handlers.clear()
        self.access_log.handlers.clear()


class GunicornServer(Application):  # type: ignore[misc] # gunicorn is untyped
    """gunicorn with config/gunicorn.conf.py; options of the command line override the file."""

    def __init__(
        self, create_app: CreateApp, settings: Settings, capacity: Capacity, *, bind: str
    ) -> None:
        self._create_app, self._settings = create_app, settings
        self._capacity, self._bind = capacity, bind
        self._jobs: BackgroundJobs | None = None
        super().__init__()

    def load_config(self) -> None:
        if GUNICORN_CONFIG.exists():
            self.load_config_from_file(str(GUNICORN_CONFIG))
        options = {
            "bind": self._bind,
            "workers": self._capacity.workers,
            "threads": self._capacity.threads,
            "worker_class": "app.server.gunicorn_worker.Worker",
            "logger_class": GunicornLogger,
            "preload_app": False,
            "control_socket_disable": True,
            "when_ready": self._announce,
            "post_worker_init": self._start_jobs,
            "worker_exit": self._stop_jobs,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        return self._create_app(self._settings, capacity=self._capacity)

    def _announce(self, _server: object) -> None:
        log.info(
            "server started",
            bind=self._bind,
            workers=self._capacity.workers,
            threads=self._capacity.threads,
        )
        if not self._settings.is_production:
            click.echo(build_banner(self._settings, self._bind))

    def _start_jobs(self, worker: Any) -> None:
        """Start background threads after the fork, because a fork does not copy threads."""
        self._jobs = BackgroundJobs(worker.wsgi.extensions["doorward"], ProcessKind.SERVER)
        self._jobs.start()

    def _stop_jobs(self, _server: object, worker: Any) -> None:
        """Stop background threads as the last step of a worker.

        The parent also calls this, for a worker that has already ended.
        """
        if self._jobs is None:
            return
        self._jobs.stop(timeout=QUICK_SHUTDOWN_SECONDS if worker.is_quitting else SHUTDOWN_SECONDS)
        if worker.is_stopping:
            # A normal exit waits for threads that still hash or read from a slow client, until the
            # parent kills the process.
            sys.stdout.flush()
            os._exit(0)


def build_banner(settings: Settings, bind: str) -> str:
    """Build the text that a development server prints when it starts."""
    url = settings.public_url
    lines = [f"Doorward is running at {url}"]
    if settings.docs is DocsMode.PUBLIC:
        lines.append(f"  API docs:     {url}/docs")
    if settings.smtp_url is None:
        lines.append(f"  Mailbox:      {url}/dev/mailbox")
    bind_option = "" if bind == DEFAULT_BIND else f" BIND={bind}"
    lines += [
        f"  Sign in:      {url}/login",
        f"  First admin:  make admin NAME=U EMAIL=E{bind_option}",
        "                or, with the settings of this process:",
        "                python -m app bootstrap-admin --username U --email E",
        "  Stop:         Ctrl-C",
    ]
    return "\n".join(lines)
