"""What every command begins with: settings, or a list of what is wrong with them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import click

from app.settings import Settings, SettingsError

if TYPE_CHECKING:
    from flask import Flask

    from app.adapters.password_hasher import Capacity

EXIT_REFUSED = 1
EXIT_UNAVAILABLE = 1
EXIT_SETTINGS = 2
EXIT_SCHEMA = 3


class CreateApp(Protocol):
    """The factory, handed in by __main__ so that commands stay below it."""

    def __call__(self, settings: Settings, *, capacity: Capacity | None = None) -> Flask: ...


def load_settings_or_exit(read: Callable[[], Settings] = Settings.from_environment) -> Settings:
    """The settings. Exits with 2 after naming every fault."""
    try:
        return read()
    except SettingsError as error:
        click.echo("These settings are not right (see `python -m app config reference`):", err=True)
        for fault in error.faults:
            click.echo(f"  {fault}", err=True)
        sys.exit(EXIT_SETTINGS)


def prepare_database(settings: Settings) -> None:
    """SQLite's file and what stands beside it are for this user alone, in a folder that is made where it is missing."""
    if settings.uses_sqlite:
        os.umask(0o077)
        Path(settings.database_url.removeprefix("sqlite:///")).parent.mkdir(
            parents=True, exist_ok=True, mode=0o700
        )
