"""`db`: the schema."""

from __future__ import annotations

import sys

import click

from app.adapters import migrations
from app.adapters.database import is_database_unavailable, open_migration_connection
from app.cli.start import EXIT_SCHEMA, EXIT_UNAVAILABLE, load_settings_or_exit, prepare_database
from app.settings import Settings

DATABASE_UNAVAILABLE = (
    "The database does not answer: check DOORWARD_DATABASE_URL and that the server runs."
)


@click.group()
def db() -> None:
    """The schema: bring it up to date, or look whether it is."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the schema to what this version needs. Safe from many replicas at once: one works, the others wait."""
    before, after = upgrade_or_exit(load_settings_or_exit())
    click.echo(
        f"The schema is at {after}."
        if before == after
        else f"The schema went from {before or 'nothing'} to {after}."
    )


@db.command("check")
def db_check() -> None:
    """Is the schema the one this version needs? Exits with 3 when it is not."""
    fault = find_schema_problem(load_settings_or_exit())
    if fault:
        click.echo(fault, err=True)
        sys.exit(EXIT_SCHEMA)
    click.echo(f"The schema is at {migrations.get_required_revision()}, as this version needs.")


def upgrade_or_exit(settings: Settings) -> tuple[str | None, str]:
    """Bring the schema up to date; from and to. Exits with 1 when the database does not answer."""
    prepare_database(settings)
    try:
        return migrations.upgrade(settings.database_url)
    except Exception as error:
        if not is_database_unavailable(error):
            raise
        click.echo(DATABASE_UNAVAILABLE, err=True)
        sys.exit(EXIT_UNAVAILABLE)


def find_schema_problem(settings: Settings) -> str | None:
    """What is wrong with the schema and what to do, None when it is right."""
    try:
        with open_migration_connection(settings.database_url) as connection:
            found = migrations.find_current_revision(connection)
    except Exception as error:
        if not is_database_unavailable(error):
            raise
        return DATABASE_UNAVAILABLE
    if found != migrations.get_required_revision():
        return f"The schema is at {found or 'nothing'}, this version needs {migrations.get_required_revision()}: run `python -m app db upgrade`."
    return None
