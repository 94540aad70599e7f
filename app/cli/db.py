"""`db`: upgrade and check the database schema."""

from __future__ import annotations

import sys

import click

from app.adapters import migrations
from app.adapters.database import is_database_unavailable, open_migration_connection
from app.cli.start import EXIT_SCHEMA, EXIT_UNAVAILABLE, load_settings_or_exit, prepare_database
from app.settings import Settings

DATABASE_UNAVAILABLE = (
    "The database does not answer. Check DOORWARD_DATABASE_URL and that the server is running."
)


@click.group()
def db() -> None:
    """Upgrade and check the database schema."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Upgrade the schema to this version. Replicas can run this at the same time."""
    before, after = upgrade_or_exit(load_settings_or_exit())
    if before == after:
        click.echo(f"The schema is at {after}.")
    else:
        click.echo(f"Upgraded the schema from {before or 'nothing'} to {after}.")


@db.command("check")
def db_check() -> None:
    """Check that the schema matches this version. Exits with 3 if it does not."""
    require_current_schema(load_settings_or_exit())
    click.echo(f"The schema is at {migrations.get_required_revision()}, as this version requires.")


def upgrade_or_exit(settings: Settings) -> tuple[str | None, str]:
    """Upgrade the schema and return the revisions before and after.

    Exits with 1 if the database does not answer.
    """
    prepare_database(settings)
    try:
        return migrations.upgrade(settings.database_url)
    except Exception as error:
        if not is_database_unavailable(error):
            raise
        click.echo(DATABASE_UNAVAILABLE, err=True)
        sys.exit(EXIT_UNAVAILABLE)


def require_current_schema(settings: Settings) -> None:
    """Exit with 3 unless the database answers and its schema matches this version."""
    if problem := _find_schema_problem(settings):
        click.echo(problem, err=True)
        sys.exit(EXIT_SCHEMA)


def _find_schema_problem(settings: Settings) -> str | None:
    try:
        with open_migration_connection(settings.database_url) as connection:
            current = migrations.find_current_revision(connection)
    except Exception as error:
        if not is_database_unavailable(error):
            raise
        return DATABASE_UNAVAILABLE
    required = migrations.get_required_revision()
    if current == required:
        return None
    return (
        f"The schema is at {current or 'nothing'}, but this version requires {required}. "
        "Run `python -m app db upgrade`."
    )
