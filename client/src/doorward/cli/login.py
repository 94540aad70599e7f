"""`doorward login`."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from doorward import environment as here
from doorward.cli import asking, device
from doorward.cli.edge import Plain
from doorward.cli.length import YEAR, length, waiting
from doorward.cli.opened import address, passed_over
from doorward.cli.options import debugging, printing
from doorward.cli.shown import show
from doorward.cli.terminal import asks, say, strong
from doorward.cli.written import local
from doorward.errors import DoorwardError, InvalidInput, PasswordChangeRequired

if TYPE_CHECKING:
    from doorward.client import Doorward
    from doorward.models import Me
    from doorward.secret import Secret

SOON = timedelta(minutes=1)
ONLY_DEVICE = {"client_id": "--client-id", "message": "--message", "timeout": "--timeout"}


@click.command(cls=Plain)
@click.option(
    "--url",
    metavar="URL",
    help="Address of the service; else DOORWARD_URL, else the only one you were logged in at.",
)
@click.option(
    "--user",
    "-u",
    metavar="NAME",
    help="Username or address; else DOORWARD_USER. With --device: who may approve.",
)
@click.option(
    "--device",
    "by_device",
    is_flag=True,
    help="Show a code that somebody approves in a browser, here or on another device.",
)
@click.option(
    "--password",
    "by_password",
    is_flag=True,
    help="Ask for the password; it is not shown. Never an argument.",
)
@click.option(
    "--password-stdin",
    "from_stdin",
    is_flag=True,
    help="Read the password from the first line of standard input.",
)
@click.option(
    "--scope",
    metavar="SCOPE",
    multiple=True,
    help="What the session may do; may be repeated. Else all that you may.",
)
@click.option(
    "--expires",
    callback=length(YEAR),
    metavar="LENGTH|DATE",
    help="When the session is to end at the latest: 12h, 30d, or until the end of 2027-01-31 in local time. A year at most, and what the"
    " service allows.",
)
@click.option(
    "--client-id",
    metavar="ID",
    help="As which program to ask, if the operator gave you a name for it. With --device.",
)
@click.option(
    "--message", metavar="TEXT", help="What it is for; whoever approves sees it. With --device."
)
@click.option(
    "--qr/--no-qr",
    default=True,
    help="Show the address as a picture for a camera, where the terminal has room. With --device.",
)
@click.option(
    "--timeout",
    callback=waiting,
    metavar="LENGTH",
    help="How long to wait at most, e.g. 90s or 5m; else as long as the code lasts.",
)
@printing
@debugging
def login(url: str | None, form: str, **given: Any) -> None:
    """Log in and keep the session.

    In a terminal with a display you are asked for your name and password.
    Where there is no terminal input, over SSH, or without a display, a code is
    shown that you approve on another device.

    The session is kept for the other commands and for programs that use the
    library, in a file that only you can read (DOORWARD_STORE).
    """
    from doorward.client import Doorward

    by_device = _by_device(given)
    client = Doorward(address(url))
    _need_store()
    asked = {"scope": " ".join(given["scope"]) or None}
    user = given["user"] or here.get_variable("DOORWARD_USER") or None
    if by_device:
        message, client_id = given["message"], given["client_id"]
        parts = {"username": user, "login_message": message, "client_id": client_id, **asked}
        device.wrongly_accepted(
            client, qr=given["qr"], timeout=given["timeout"], expires_in=given["expires"], **parts
        )
    else:
        _by_password(
            client, user, expires=given["expires"], from_stdin=given["from_stdin"], **asked
        )
    _keep(client)
    _told(client, client.get_me(), form, given["expires"])


def _by_device(given: dict[str, Any]) -> bool:
    """Which way. Raises UsageError for options that do not go together."""
    ways = [name for name in ("by_device", "by_password", "from_stdin") if given[name]]
    if len(ways) > 1:
        raise click.UsageError("Choose one of --device, --password and --password-stdin.")
    why = "" if ways else device.why_another_device()
    by_device = ways == ["by_device"] or bool(why)
    for name, option in ONLY_DEVICE.items():
        if given[name] is not None and not by_device:
            raise click.UsageError(f"{option} goes with --device.")
    if by_device and why:
        say(f"Approve the login on another device, since {why}.")
    return by_device


def _by_password(
    client: Doorward,
    user: str | None,
    *,
    scope: str | None,
    expires: timedelta | None,
    from_stdin: bool,
) -> None:
    say(f"Log in at {strong(client.url)}")
    if user is None and (from_stdin or not asks()):
        raise InvalidInput("Say who logs in: --user NAME, or DOORWARD_USER.")
    name = user or click.prompt("Username or address", err=True)
    secret = (
        asking.read_line() if from_stdin and not asks() else asking.hidden(f"Password of {name}")
    )
    parts: dict[str, Any] = {"scope": scope, "expires_in": expires, "device_name": _device_name()}
    token: Secret | None = None
    try:
        client.login.with_password(name, secret, **parts)
    except PasswordChangeRequired as error:
        if error.reset_token is None or not asks() or from_stdin:
            raise
        token = error.reset_token
    if token is not None:
        say("The password must be changed before it opens a session again.")
        secret = asking.chosen()
        client.transport.ask(
            "POST", "/v1/password/reset", json={"token": token, "new_password": secret}
        )
        client.login.with_password(name, secret, **parts)


def _need_store() -> None:
    """Before anybody types or approves anything for a session that could not be kept. Raises StoreError."""
    from doorward import keyring_secrets
    from doorward.store.store import InstanceAuthSessions, resolve_location

    place = place_of(None)
    if place.uses_keyring:
        keyring_secrets.require_keyring()
    InstanceAuthSessions.load(place)
    with place.held():
        return


def _keep(client: Doorward) -> None:
    """A session that cannot be kept would be one that nobody can end from here."""
    try:
        client.save()
    except DoorwardError:
        with suppress(DoorwardError):
            client.logout()
        raise


def _told(client: Doorward, me: Me, form: str, asked: timedelta | None) -> None:
    from doorward.store.store import get_store_path

    found = {
        "url": client.url,
        "username": me.account.username,
        "account_id": me.account.id,
        "session_id": me.session.id,
        "scopes": me.scopes,
        "session_expires_at": me.session.expires_at,
        "store": str(store_path()),
    }
    if form != "table":
        show(found, form)
    say(f"Logged in at {client.url} as {strong(me.account.username)}.")
    say(
        f"The session ends on {local(me.session.expires_at)}{_further(me.session.expires_at, asked)}."
    )
    for sentence in passed_over(client.url, client.session.username):
        say(sentence)


def _further(ends: datetime | None, asked: timedelta | None) -> str:
    """What comes of using it. It ends sooner when it is not used, and at the asked time in any case."""
    if asked is None:
        return "; using it before then prolongs it"
    latest = here.get_now() + asked
    if ends is None or latest - ends < SOON:
        return ""
    return f"; using it before then prolongs it, until {local(latest)} and as far as the service allows"


def _device_name() -> str:
    import socket  # only here

    return f"doorward on {socket.gethostname()}"[:64]
