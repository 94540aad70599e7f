"""`serve`: run the service under gunicorn."""

from __future__ import annotations

import sys

import click

from app.adapters.password_hasher import Capacity
from app.cli.db import require_current_schema, upgrade_or_exit
from app.cli.start import EXIT_SETTINGS, load_settings_or_exit, prepare_database
from app.server.gunicorn_server import DEFAULT_BIND, CreateApp, GunicornServer
from app.settings import Settings, load_settings


@click.command()
@click.option("--bind", default=DEFAULT_BIND, show_default=True, help="HOST:PORT to listen on.")
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
    GunicornServer(
        create_app, settings, Capacity(workers=workers, threads=threads), bind=bind
    ).run()


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
