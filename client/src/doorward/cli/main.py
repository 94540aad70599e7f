"""The root command: `doorward`, or `python -m doorward`."""

from __future__ import annotations

import click

from doorward._version import __version__
from doorward.cli import exit_codes
from doorward.cli.commands.account import list_roles, password
from doorward.cli.commands.keys import keys
from doorward.cli.commands.login import login
from doorward.cli.commands.scripting import print_completion, print_token
from doorward.cli.commands.sessions import logout, sessions, whoami
from doorward.cli.commands.status import show_status
from doorward.cli.groups import RootGroup
from doorward.cli.options import debug_option

VARIABLES = {
    "DOORWARD_URL": "URL of the service",
    "DOORWARD_USER": "username, if several users are logged in",
    "DOORWARD_TOKEN": "access token or API key to use instead of a session",
    "DOORWARD_STORE": "session file; 'keyring' keeps its secrets in the keyring",
}


class Commands(RootGroup):
    """The root group, with environment variables and exit codes below its help."""

    def format_epilog(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Environment variables"):
            formatter.write_dl([*VARIABLES.items()])
        with formatter.section("Exit codes"):
            formatter.write_dl(
                [(f"{code:>3}", meaning) for code, meaning in exit_codes.MEANINGS.items()]
            )


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80}
)
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
@debug_option
def cli() -> None:
    """Log in to a Doorward service and use it from a terminal.

    \b
      doorward login --url https://auth.example.com
      doorward whoami
      curl -H "Authorization: Bearer $(doorward token)" https://api.example.com
    """  # noqa: D301 - click reads \b as a control character


for command in (
    login,
    logout,
    show_status,
    whoami,
    print_token,
    sessions,
    keys,
    list_roles,
    password,
    print_completion,
):
    cli.add_command(command)


def main() -> None:
    """Run the command line."""
    cli.main(prog_name="doorward")
