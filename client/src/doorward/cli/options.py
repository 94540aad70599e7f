"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from doorward.cli.formats import FORMS
from doorward.cli.groups import enable_debug

Command = Callable[..., Any]

URL_HELP = "URL of the service. Default: DOORWARD_URL, or the only service you are logged in to."
USER_HELP = "Username. Default: DOORWARD_USER, or the user whose session expires last."

debug_option = click.option(
    "--debug",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=enable_debug,
    help="If an error occurs, show where, without values.",
)
output_option = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(FORMS),
    default="table",
    show_default=True,
    help="Output format.",
)


def with_service_options(command: Command) -> Command:
    """Add the options of commands that call a service with the stored session."""
    for option in (
        debug_option,
        click.option("--user", "-u", metavar="NAME", help=USER_HELP),
        click.option("--url", metavar="URL", help=URL_HELP),
    ):
        command = option(command)
    return command
