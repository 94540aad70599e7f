"""`doorward roles` and `doorward password`."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import click

from doorward.cli import password_input
from doorward.cli.credentials import open_client
from doorward.cli.groups import CommandGroup, SafeCommand
from doorward.cli.options import output_option, with_service_options
from doorward.cli.output import show
from doorward.cli.terminal import can_prompt, print_data, print_message
from doorward.errors import DoorwardError, InvalidInput
from doorward.printable import replace_control_characters
from doorward.secret import Secret

if TYPE_CHECKING:
    from doorward.client import Doorward

NO_ROLES = "No roles."
PASSWORD_UNCHANGED = "The password was not changed. Discard the printed one."  # noqa: S105 - a text
PASSWORD_UNCERTAIN = (
    "The password may or may not have been changed."  # noqa: S105 - a text
    " Keep both the printed and the current one until you have tried them."
)
ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"  # without l, o, 0 and 1, which look alike
GROUPS, GROUP_SIZE = 5, 5  # 125 bits
MAX_MIN_LENGTH = 1024


@click.command("roles", cls=SafeCommand)
@click.argument("account", required=False)
@click.option(
    "--resource", metavar="NAME", help="Include the levels on a resource of this type. Needs --id."
)
@click.option("--id", "resource_id", metavar="ID", help="ID of the resource. Needs --resource.")
@output_option
@with_service_options
def list_roles(
    url: str | None,
    user: str | None,
    form: str,
    *,
    account: str | None,
    resource: str | None,
    resource_id: str | None,
) -> None:
    """List the roles of an account. ACCOUNT is an account id; default: you."""
    if (resource is None) != (resource_id is None):
        raise click.UsageError("Use --resource and --id together.")
    roles = open_client(url, user).list_roles(account, resource=resource, id=resource_id)
    if form != "table":
        show(roles, form)
    elif roles:
        print_data("\n".join(map(replace_control_characters, roles)))
    else:
        print_message(NO_ROLES)


@click.group(cls=CommandGroup)
def password() -> None:
    """Manage your password."""


@password.command("change")
@click.option(
    "--stdin",
    "from_stdin",
    is_flag=True,
    help="Read the current and the new password from lines 1 and 2 of standard input.",
)
@click.option(
    "--generate", is_flag=True, help="Generate the new password and print it to standard output."
)
@with_service_options
def change_password(url: str | None, user: str | None, *, from_stdin: bool, generate: bool) -> None:
    """Change your password and revoke all your other sessions.

    Prompts for both passwords without showing them. With --stdin, a third line
    may repeat the new password.

    With --generate, only the current password is needed.
    """
    client = open_client(url, user)
    if not from_stdin and not can_prompt():
        raise click.UsageError("There is no terminal. Pipe the passwords in with --stdin.")
    if generate:
        _change_to_generated(
            client,
            password_input.read_stdin_line()
            if from_stdin
            else password_input.prompt_hidden("Current password"),
        )
    else:
        current, new = _read_passwords() if from_stdin else _prompt_passwords()
        client.change_password(current, new)
    print_message("Password changed. All other sessions were revoked; this one is still active.")


def _change_to_generated(client: Doorward, current: Secret) -> None:
    """Print a generated password, then set it.

    In the other order, a password that could not be printed would lock the user out.
    """
    client.elevate(current)  # prints no password if the current one is wrong
    new = _generate_password(_get_min_password_length(client))
    print_data(new.reveal())
    try:
        client.change_password(current, new)
    except (DoorwardError, KeyboardInterrupt) as error:
        print_message(PASSWORD_UNCHANGED if _is_rejected(error) else PASSWORD_UNCERTAIN)
        raise
    print_message("The printed password is your new password. It is shown only now. Keep it safe.")


def _is_rejected(error: BaseException) -> bool:
    """Return whether the service rejected the change.

    After any other error the change may have happened: the response may have been lost.
    """
    return isinstance(error, DoorwardError) and error.status in range(400, 500)


def _generate_password(min_length: int) -> Secret:
    groups = max(GROUPS, -(-(min_length + 1) // (GROUP_SIZE + 1)))
    return Secret(
        "-".join(
            "".join(secrets.choice(ALPHABET) for _ in range(GROUP_SIZE)) for _ in range(groups)
        )
    )


def _get_min_password_length(client: Doorward) -> int:
    """Return the minimum password length of the service, 0 if it reports none."""
    policies = client.transport.request("GET", "/v1/methods").get("policies")
    length = policies.get("password_min_length") if isinstance(policies, dict) else None
    return min(length, MAX_MIN_LENGTH) if isinstance(length, int) else 0


def _prompt_passwords() -> tuple[Secret, Secret]:
    return password_input.prompt_hidden("Current password"), password_input.prompt_new_password()


def _read_passwords() -> tuple[Secret, Secret]:
    current, new, confirmation, *_ = *password_input.read_stdin_lines(3), *[Secret("")] * 3
    if not current or not new:
        raise InvalidInput(
            "Standard input needs the current password on line 1 and the new one on line 2."
        )
    if confirmation and confirmation != new:
        raise InvalidInput("The new passwords do not match. Try again.")
    return current, new
