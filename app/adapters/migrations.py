"""Schema migrations by Alembic: the required and current revision, and the upgrade between them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.adapters.database import open_migration_connection

if TYPE_CHECKING:
    from sqlalchemy import Connection

MIGRATIONS_DIRECTORY = Path(__file__).resolve().parents[2] / "migrations"


def _build_config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS_DIRECTORY))
    return config


@cache
def get_required_revision() -> str:
    """Return the revision that this version of the code requires."""
    return ScriptDirectory.from_config(_build_config()).get_current_head() or ""


def find_current_revision(connection: Connection) -> str | None:
    """Return the revision of the database, None if it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(url: str) -> tuple[str | None, str]:
    """Migrate the database to the required revision and return the old and new revision.

    Many processes may call this at once.
    """
    with open_migration_connection(url) as connection:
        before = find_current_revision(connection)
        config = _build_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        return before, get_required_revision()
