"""`doorward keys`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from doorward.cli.credentials import open_client, run_with_reauthentication
from doorward.cli.durations import NEVER, build_duration_parser
from doorward.cli.formats import to_fields
from doorward.cli.groups import CommandGroup
from doorward.cli.options import output_option, with_service_options
from doorward.cli.output import show, show_keys
from doorward.cli.tables import format_local_time
from doorward.cli.terminal import print_data, print_message
from doorward.errors import UnexpectedAnswer

if TYPE_CHECKING:
    from doorward.models import NewApiKey


@click.group(cls=CommandGroup, default="list")
def keys() -> None:
    """Manage your API keys. Without a subcommand, list them.

    The secret of a new key is printed once, alone, to standard output.
    """


@keys.command("list")
@output_option
@with_service_options
def list_keys(url: str | None, user: str | None, form: str) -> None:
    """List your active API keys, newest first."""
    show_keys(open_client(url, user).keys.list(), form)


@keys.command("create")
@click.argument("name")
@click.option(
    "--scope",
    metavar="SCOPE",
    multiple=True,
    help="Scope of the key; may be repeated. Default: none, the key only identifies you.",
)
@click.option(
    "--expires",
    callback=build_duration_parser(allow_never=True),
    metavar="DURATION|DATE",
    help="Expiry: 12h, 30d, the end of 2027-01-31 in local time, or never (administrators)."
    " Default: 90 days.",
)
@output_option
@with_service_options
def create_key(
    url: str | None,
    user: str | None,
    form: str,
    *,
    name: str,
    scope: tuple[str, ...],
    expires: timedelta | str | None,
) -> None:
    """Create an API key called NAME and print its secret.

    Needs a password entered within the last five minutes; in a terminal you are
    asked for it.
    """
    client = open_client(url, user)
    options: dict[str, Any] = (
        {} if expires is None else {"expires_in": None if expires == NEVER else expires}
    )
    scopes = " ".join(scope).split()
    key = run_with_reauthentication(client, lambda: client.keys.create(name, scopes, **options))
    _print_new_key(key, form)


@keys.command("rotate")
@click.argument("key_id", metavar="ID")
@click.option(
    "--overlap",
    callback=build_duration_parser(allow_zero=True),
    metavar="DURATION",
    help="How long the current secret stays valid; 0s ends it at once. Default: one day.",
)
@output_option
@with_service_options
def rotate_key(
    key_id: str, overlap: timedelta | None, url: str | None, user: str | None, form: str
) -> None:
    """Issue a new secret for the API key ID and print it.

    Needs a password entered within the last five minutes; in a terminal you are
    asked for it.
    """
    client = open_client(url, user)
    key = run_with_reauthentication(client, lambda: client.keys.rotate(key_id, overlap=overlap))
    _print_new_key(key, form)


@keys.command("delete")
@click.argument("key_id", metavar="ID")
@with_service_options
def delete_key(key_id: str, url: str | None, user: str | None) -> None:
    """Delete the API key ID, with immediate effect."""
    open_client(url, user).keys.delete(key_id)
    print_message("API key deleted.")


def _print_new_key(key: NewApiKey, form: str) -> None:
    """Print the secret to standard output, and the details to standard error."""
    try:
        _print_secret(key, form)
    except (click.ClickException, BrokenPipeError):
        print_message(
            f"The secret of the API key {key.name!r} could not be printed and is lost."
            f" Rotate or delete {key.id}."
        )
        raise
    validity = (
        f"expires on {format_local_time(key.expires_at)}" if key.expires_at else "never expires"
    )
    print_message(
        f"The API key {key.name!r} ({key.id}) {validity}."
        " It is shown only now. Store it where your programs keep secrets."
    )
    if key.old_until is not None:
        until = format_local_time(key.old_until)
        print_message(f"The previous secret is valid until {until}.")


def _print_secret(key: NewApiKey, form: str) -> None:
    if not key.key.is_header_safe:
        raise UnexpectedAnswer("The service returned an invalid key. Check the URL.")
    if form == "table":
        print_data(key.key.reveal())
        return
    show({**to_fields(key), "key": key.key.reveal()}, form)
