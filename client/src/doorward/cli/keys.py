"""`doorward keys`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from doorward.cli.edge import SubGroup
from doorward.cli.length import NEVER, length
from doorward.cli.opened import opened, with_password
from doorward.cli.options import at_service, printing
from doorward.cli.shown import show, show_keys
from doorward.cli.terminal import give, say
from doorward.cli.written import local, plain
from doorward.errors import UnexpectedAnswer

if TYPE_CHECKING:
    from doorward.models import NewApiKey


@click.group(cls=SubGroup, default="list")
def keys() -> None:
    """API keys for programs; without a command, list them.

    A new key is printed to standard output, this once, and nothing else is.
    """


@keys.command("list")
@printing
@at_service
def keys_list(url: str | None, user: str | None, form: str) -> None:
    """List your living keys, the newest first."""
    show_keys(opened(url, user).keys.list(), form)


@keys.command("create")
@click.argument("name")
@click.option(
    "--scope",
    metavar="SCOPE",
    multiple=True,
    help="What the key may do; may be repeated. Else nothing but say whose it is.",
)
@click.option(
    "--expires",
    callback=length(never=True),
    metavar="LENGTH|DATE",
    help="When it ends: 12h, 30d, the end of 2027-01-31 in local time, or never (administrators). Else after 90 days.",
)
@printing
@at_service
def keys_create(
    url: str | None,
    user: str | None,
    form: str,
    *,
    name: str,
    scope: tuple[str, ...],
    expires: timedelta | str | None,
) -> None:
    """Make the key NAME and print it, this once.

    The service wants the password typed within the last five minutes; in a
    terminal you are asked for it.
    """
    client = opened(url, user)
    parts: dict[str, Any] = (
        {} if expires is None else {"expires_in": None if expires == NEVER else expires}
    )
    scopes = " ".join(scope).split()
    _told(with_password(client, lambda: client.keys.create(name, scopes, **parts)), form)


@keys.command("rotate")
@click.argument("key_id", metavar="ID")
@click.option(
    "--overlap",
    callback=length(nothing=True),
    metavar="LENGTH",
    help="How long the present secret goes on; else a day. 0s ends it at once.",
)
@printing
@at_service
def keys_rotate(
    key_id: str, overlap: timedelta | None, url: str | None, user: str | None, form: str
) -> None:
    """Give the key ID another secret and print it, this once.

    The service wants the password typed within the last five minutes; in a
    terminal you are asked for it.
    """
    client = opened(url, user)
    _told(with_password(client, lambda: client.keys.rotate(key_id, overlap=overlap)), form)


@keys.command("delete")
@click.argument("key_id", metavar="ID")
@at_service
def keys_delete(key_id: str, url: str | None, user: str | None) -> None:
    """End the key ID; it is refused from the next use on."""
    opened(url, user).keys.delete(key_id)
    say("The key is over.")


def _told(found: NewApiKey, form: str) -> None:
    """The secret to standard output, and all else to people."""
    try:
        _give(found, form)
    except (click.ClickException, BrokenPipeError):
        say(
            f"The secret of the key {found.name!r} is lost, since it could not be printed: rotate or delete {found.id}."
        )
        raise
    until = f"until {local(found.expires_at)}" if found.expires_at else "without end"
    say(
        f"The key {found.name!r} ({found.id}) counts {until}. It is shown only now: keep it where programs keep secrets."
    )
    if found.old_until is not None:
        say(f"The secret before it counts until {local(found.old_until)}.")


def _give(found: NewApiKey, form: str) -> None:
    if not found.key.is_header_safe:
        raise UnexpectedAnswer("What the service gave is no key: check the address.")
    if form == "table":
        give(found.key.reveal())
        return
    fields = plain(found)
    show({**(fields if isinstance(fields, dict) else {}), "key": found.key.reveal()}, form)
