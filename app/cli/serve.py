"""`serve`: run the service."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

import click

from app.adapters import logs
from app.adapters.argon2_build import get_build
from app.adapters.hash_slots import HashSlots
from app.adapters.password_hasher import Capacity
from app.cli.db import require_current_schema, upgrade_or_exit
from app.cli.start import EXIT_SETTINGS, EXIT_UNAVAILABLE, load_settings_or_exit, prepare_database
from app.server.supervisor import Supervisor, bind_socket
from app.server.worker import CreateApp, run_worker
from app.settings import DocsMode, Settings, load_settings

DEFAULT_BIND = "127.0.0.1:8080"  # also in the Makefile

log = logs.get_logger("serve")


@click.command()
@click.option(
    "--bind", default=DEFAULT_BIND, show_default=True, help="HOST:PORT or unix:PATH to listen on."
)
@click.option(
    "--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="Worker processes."
)
@click.option(
    "--threads",
    default=8,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Threads of each process.",
)
@click.option("--migrate", is_flag=True, help="Upgrade the database schema first.")
@click.pass_obj
def serve(create_app: CreateApp, *, bind: str, workers: int, threads: int, migrate: bool) -> None:
    """Serve requests, and deliver emails unless DOORWARD_OUTBOX=external."""
    default_public_url = f"http://{bind}".replace("//0.0.0.0", "//127.0.0.1")
    settings = load_settings_or_exit(lambda: load_settings(default_public_url=default_public_url))
    if workers > 1:
        _require_shared_storage(settings)
    prepare_database(settings)
    if migrate:
        upgrade_or_exit(settings)
    require_current_schema(settings)
    try:
        listener = bind_socket(bind)
    except (OSError, ValueError) as error:
        click.echo(f"Cannot listen on {bind}: {error}", err=True)
        sys.exit(EXIT_UNAVAILABLE)
    capacity = Capacity(workers=workers, threads=threads)
    capacity = replace(capacity, hash_slots=HashSlots(capacity.max_hashes))
    log.info("server started", bind=bind, workers=workers, threads=threads, argon2=get_build())
    if not settings.is_production:
        click.echo(build_banner(settings, bind))
    sys.stdout.flush()  # a fork would copy what is buffered
    serve_worker = partial(run_worker, create_app, settings, capacity)
    sys.exit(Supervisor(listener, serve_worker, workers=workers).run())


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


def _require_shared_storage(settings: Settings) -> None:
    """Exit with 2 unless several processes can share the database and the cache."""
    if settings.uses_sqlite:
        click.echo(
            "DOORWARD_DATABASE_URL: SQLite supports a single process; use PostgreSQL, or "
            "--workers 1.",
            err=True,
        )
        sys.exit(EXIT_SETTINGS)
    if settings.is_production and settings.redis_url is None:
        click.echo(
            "DOORWARD_REDIS_URL: is required in production with --workers greater than 1.", err=True
        )
        sys.exit(EXIT_SETTINGS)
