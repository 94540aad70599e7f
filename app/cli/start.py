"""First steps of every command: read the settings, configure logging, build the application."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.adapters import logs
from app.adapters.password_hasher import Capacity
from app.server.background_jobs import synchronize_clock
from app.server.worker import CreateApp
from app.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from typing import TextIO

    from app.unit_of_work import UnitOfWorkFactory

EXIT_REFUSED = 1
EXIT_UNAVAILABLE = 1
EXIT_SETTINGS = 2
EXIT_SCHEMA = 3
COMMAND_CAPACITY = Capacity(workers=1, threads=1)


def load_settings_or_exit(
    load: Callable[[], Settings] = load_settings, *, log_to: TextIO | None = None
) -> Settings:
    """Read the settings and configure logging. Exits with 2 after printing every fault."""
    try:
        settings = load()
    except SettingsError as error:
        click.echo("Invalid settings (see `python -m app config reference`):", err=True)
        for fault in error.faults:
            click.echo(f"  {fault}", err=True)
        sys.exit(EXIT_SETTINGS)
    logs.configure_logging(log_to, level=get_log_level(settings))
    return settings


def get_log_level(settings: Settings) -> int:
    return logging.getLevelNamesMapping()[settings.log_level.upper()]


def open_application(create_app: CreateApp, settings: Settings) -> UnitOfWorkFactory:
    """Build the application for a command that does not serve, with the clock of the database."""
    app = create_app(settings, capacity=COMMAND_CAPACITY)
    units: UnitOfWorkFactory = app.extensions["doorward"]
    synchronize_clock(units)
    return units


def prepare_database(settings: Settings) -> None:
    """Create the directory of a SQLite file. New files are readable by the current user only."""
    if settings.uses_sqlite:
        os.umask(0o077)
        Path(settings.database_url.removeprefix("sqlite:///")).parent.mkdir(
            parents=True, exist_ok=True, mode=0o700
        )
