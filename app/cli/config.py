"""`config`: which settings there are, and which are in force."""

from __future__ import annotations

import click

from app.cli.start import load_settings_or_exit
from app.settings import render_reference, render_settings


@click.group()
def config() -> None:
    """Settings: which there are, and which are in force."""


@config.command("reference")
def config_reference() -> None:
    """Print every setting with its default and meaning."""
    click.echo(render_reference())


@config.command("show")
def config_show() -> None:
    """Print the settings in force, secrets masked."""
    click.echo(render_settings(load_settings_or_exit()))
