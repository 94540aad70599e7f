"""`doorward roles` and `doorward password`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from doorward.cli import asking
from doorward.cli.edge import Plain, SubGroup
from doorward.cli.generated import generated, least_of
from doorward.cli.opened import opened
from doorward.cli.options import at_service, printing
from doorward.cli.shown import show
from doorward.cli.terminal import asks, give, say
from doorward.errors import DoorwardError, InvalidInput
from doorward.secret import Secret
from doorward.transport.problems import replace_control_characters

if TYPE_CHECKING:
    from doorward.client import Doorward

NOTHING = "No roles."
STAYS = "The password stays as it was: forget the printed one."
NOT_KNOWN = "It is not known whether the password was changed: keep the printed one and the present one until you have tried them."


@click.command(cls=Plain)
@click.argument("account", required=False)
@click.option(
    "--resource",
    metavar="NAME",
    help="Also the levels at a thing of an application: of which kind.",
)
@click.option("--id", "thing", metavar="ID", help="Which thing of that kind.")
@printing
@at_service
def roles(
    url: str | None,
    user: str | None,
    form: str,
    *,
    account: str | None,
    resource: str | None,
    thing: str | None,
) -> None:
    """List what an account may do now; ACCOUNT is its id, else you."""
    if (resource is None) != (thing is None):
        raise click.UsageError("--resource and --id go together.")
    found = opened(url, user).roles(account, resource=resource, id=thing)
    if form != "table":
        show(found, form)
    elif found:
        give("\n".join(map(replace_control_characters, found)))
    else:
        say(NOTHING)


@click.group(cls=SubGroup)
def password() -> None:
    """Your password: change it."""


@password.command("change")
@click.option(
    "--stdin",
    "from_stdin",
    is_flag=True,
    help="Read the present and the new password from lines 1 and 2 of standard input.",
)
@click.option(
    "--generate",
    is_flag=True,
    help="Make the new password up, and print it to standard output, this once.",
)
@at_service
def password_change(url: str | None, user: str | None, *, from_stdin: bool, generate: bool) -> None:
    """Change your password. All your other sessions end.

    You are asked for both and nothing is shown. With --stdin, a third line
    repeats the new one.

    With --generate only the present one is wanted.
    """
    client = opened(url, user)
    if not from_stdin and not asks():
        raise click.UsageError("Nobody can be asked here: pipe the passwords in with --stdin.")
    if generate:
        _made_up(client, asking.read_line() if from_stdin else asking.hidden("Present password"))
    else:
        old, new = _piped() if from_stdin else (asking.hidden("Present password"), asking.chosen())
        client.change_password(old, new)
    say("The password is changed. All other sessions are over; this one goes on.")


def _made_up(client: Doorward, old: Secret) -> None:
    """It is printed before it counts: one that counts and that nobody could read would lock its owner out."""
    client.elevate(old)  # so that none is printed where the present one is wrong
    new = generated(least_of(client))
    give(new.reveal())
    try:
        client.change_password(old, new)
    except (DoorwardError, KeyboardInterrupt) as error:
        say(STAYS if _refused(error) else NOT_KNOWN)
        raise
    say(
        "The new password is the printed one. It is shown only now: keep it where you keep passwords."
    )


def _refused(error: BaseException) -> bool:
    """Did the service say no? After anything else the change may count: its answer was lost or broken, or could not be kept here."""
    return isinstance(error, DoorwardError) and error.status in range(400, 500)


def _piped() -> tuple[Secret, Secret]:
    found = asking.read_lines(3)
    if len(found) < 2 or not all(found[:2]):  # noqa: PLR2004 - the present and the new one
        raise InvalidInput(
            "Standard input must hold the present and the new password, a line each."
        )
    if len(found) > 2 and found[2] and found[2] != found[1]:  # noqa: PLR2004
        raise InvalidInput("The two new passwords are not the same.")
    return found[0], found[1]
