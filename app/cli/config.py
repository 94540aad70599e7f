"""`config`: which settings there are, and which are in force."""

from __future__ import annotations

import click

from app.cli.start import settings_or_exit
from app.settings import reference, shown


@click.group()
def config() -> None:
    """Settings: which there are, and which are in force."""


@config.command("reference")
def config_reference() -> None:
    """Print every setting with its default and meaning."""
    click.echo(reference())


@config.command("show")
def config_show() -> None:
    """Print the settings in force, secrets masked."""
    click.echo(shown(settings_or_exit()))
