"""The command line: `doorward`, or `python -m doorward`. What a command does is the library's work; here it is said and shown."""

from __future__ import annotations

import click

from doorward import __version__
from doorward.cli import exits
from doorward.cli.account import password, roles
from doorward.cli.edge import Edge
from doorward.cli.keys import keys
from doorward.cli.login import login
from doorward.cli.options import debugging
from doorward.cli.scripts import completion, status, token
from doorward.cli.sessions import logout, sessions, whoami

VARIABLES = {
    "DOORWARD_URL": "address of the service",
    "DOORWARD_USER": "whose session, and who logs in",
    "DOORWARD_TOKEN": "access token or API key to use instead of a session",
    "DOORWARD_STORE": "file of sessions; keyring: keeps the secrets in the system's",
}


class Commands(Edge):
    """All of them, and below their list what holds for each."""

    def format_epilog(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Environment, read when a command runs"):
            formatter.write_dl([*VARIABLES.items()])
        with formatter.section("Exit codes"):
            formatter.write_dl(
                [(f"{code:>3}", meaning) for code, meaning in exits.MEANINGS.items()]
            )


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(__version__, "-V", "--version", message="%(prog)s %(version)s")
@debugging
def cli() -> None:
    """Sign in at a Doorward service and use it from a terminal.

    \b
      doorward login --url https://auth.example.com
      doorward whoami
      curl -H "Authorization: Bearer $(doorward token)" https://api.example.com
    """  # noqa: D301 - click reads \b as a control character


for command in (login, logout, status, whoami, token, sessions, keys, roles, password, completion):
    cli.add_command(command)


def main() -> None:
    """What `doorward` runs."""
    cli.main(prog_name="doorward")
