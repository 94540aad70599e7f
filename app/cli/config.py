"""`config`: print all settings or the current values."""

from __future__ import annotations

import click

from app.cli.start import load_settings_or_exit
from app.settings import render_reference, render_settings


@click.group()
def config() -> None:
    """Print the settings reference or the current settings."""


@config.command("reference")
def config_reference() -> None:
    """Print every setting with its description and default."""
    click.echo(render_reference())


@config.command("show")
def config_show() -> None:
    """Print the current settings, with secrets masked."""
    click.echo(render_settings(load_settings_or_exit()))
