"""Options that many commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from doorward.cli.edge import debug
from doorward.cli.written import FORMS

Command = Callable[..., Any]

URL = "Address of the service; else DOORWARD_URL, else the one where you are logged in."
USER = "Whose session; else DOORWARD_USER, else the one that lasts longest."

debugging = click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=debug,
    help="Where something fails, show the lines of the program that led there.",
)
printing = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(FORMS),
    default="table",
    show_default=True,
    help="How to print it; json and yaml for programs.",
)


def at_service(command: Command) -> Command:
    """For a command that asks a service by the kept session."""
    for option in (
        debugging,
        click.option("--user", "-u", metavar="NAME", help=USER),
        click.option("--url", metavar="URL", help=URL),
    ):
        command = option(command)
    return command
