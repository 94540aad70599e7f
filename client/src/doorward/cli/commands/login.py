"""`doorward login`."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from doorward import environment
from doorward.cli import device_login, password_input
from doorward.cli.credentials import explain_unused_login, find_service_url
from doorward.cli.durations import YEAR, build_duration_parser, parse_timeout
from doorward.cli.groups import SafeCommand
from doorward.cli.options import debug_option, output_option
from doorward.cli.output import show
from doorward.cli.tables import format_local_time
from doorward.cli.terminal import can_prompt, format_bold, print_message
from doorward.errors import DoorwardError, InvalidInput, PasswordChangeRequired

if TYPE_CHECKING:
    from doorward.client import Doorward
    from doorward.models import Me
    from doorward.secret import Secret

PROLONGATION_TOLERANCE = timedelta(minutes=1)
DEVICE_OPTIONS = {"client_id": "--client-id", "message": "--message", "timeout": "--timeout"}


@click.command(cls=SafeCommand)
@click.option(
    "--url",
    metavar="URL",
    help="URL of the service. Default: DOORWARD_URL, or the only service in the store.",
)
@click.option(
    "--user",
    "-u",
    metavar="NAME",
    help="Username or email address. Default: DOORWARD_USER."
    " With --device: the only user who may approve.",
)
@click.option(
    "--device",
    "by_device",
    is_flag=True,
    help="Show a code to approve in a browser, here or on another device.",
)
@click.option(
    "--password",
    "by_password",
    is_flag=True,
    help="Prompt for the password, which is not shown. Takes no argument.",
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
    help="Scope of the session; may be repeated. Default: all that your roles allow.",
)
@click.option(
    "--expires",
    callback=build_duration_parser(YEAR),
    metavar="DURATION|DATE",
    help="Latest end of the session: 12h, 30d, or the end of 2027-01-31 in local time. At most one"
    " year, and at most what the service allows.",
)
@click.option(
    "--client-id",
    metavar="ID",
    help="Client id of this program, if the operator gave you one. With --device.",
)
@click.option(
    "--message", metavar="TEXT", help="Purpose of the login, shown to the approver. With --device."
)
@click.option(
    "--qr/--no-qr",
    default=True,
    help="Show a QR code, if the terminal has room for it. With --device.",
)
@click.option(
    "--timeout",
    callback=parse_timeout,
    metavar="DURATION",
    help="Maximum wait for approval, e.g. 90s or 5m. Default: until the code expires."
    " With --device.",
)
@output_option
@debug_option
def login(url: str | None, form: str, **given: Any) -> None:
    """Log in and store the session.

    In a terminal with a display, prompts for your username and password.
    Otherwise (no terminal, an SSH session or no display), shows a code to
    approve on another device.

    The session is stored in a file that only you can read (DOORWARD_STORE), for
    the other commands and for programs that use the library.
    """
    from doorward.client import Doorward

    by_device = _should_use_device(given)
    client = Doorward(find_service_url(url))
    _require_usable_store()
    scope = " ".join(given["scope"]) or None
    user = given["user"] or environment.get_variable("DOORWARD_USER") or None
    if by_device:
        device_login.log_in_on_another_device(
            client,
            qr=given["qr"],
            timeout=given["timeout"],
            expires_in=given["expires"],
            username=user,
            login_message=given["message"],
            client_id=given["client_id"],
            scope=scope,
        )
    else:
        _log_in_with_password(
            client, user, expires=given["expires"], from_stdin=given["from_stdin"], scope=scope
        )
    _save_session(client)
    _print_result(client, client.get_me(), form, given["expires"])


def _should_use_device(given: dict[str, Any]) -> bool:
    """Return whether to use a device login. Raises UsageError for conflicting options."""
    chosen = [name for name in ("by_device", "by_password", "from_stdin") if given[name]]
    if len(chosen) > 1:
        raise click.UsageError("Use only one of --device, --password and --password-stdin.")
    reason = "" if chosen else device_login.find_device_login_reason()
    by_device = chosen == ["by_device"] or bool(reason)
    for name, option in DEVICE_OPTIONS.items():
        if given[name] is not None and not by_device:
            raise click.UsageError(f"Use {option} only with --device.")
    if by_device and reason:
        print_message(f"Approve the login on another device, because {reason}.")
    return by_device


def _log_in_with_password(
    client: Doorward,
    user: str | None,
    *,
    scope: str | None,
    expires: timedelta | None,
    from_stdin: bool,
) -> None:
    print_message(f"Log in at {format_bold(client.url)}")
    if user is None and (from_stdin or not can_prompt()):
        raise InvalidInput("No username is set. Pass --user NAME, or set DOORWARD_USER.")
    name = user or click.prompt("Username or email address", err=True)
    secret = (
        password_input.read_stdin_line()
        if from_stdin and not can_prompt()
        else password_input.prompt_hidden(f"Password for {name}")
    )
    options: dict[str, Any] = {
        "scope": scope,
        "expires_in": expires,
        "device_name": _get_device_name(),
    }
    reset_token: Secret | None = None
    try:
        client.login.with_password(name, secret, **options)
    except PasswordChangeRequired as error:
        if error.reset_token is None or not can_prompt() or from_stdin:
            raise
        reset_token = error.reset_token
    if reset_token is not None:
        secret = _reset_password(client, reset_token)
        client.login.with_password(name, secret, **options)


def _reset_password(client: Doorward, reset_token: Secret) -> Secret:
    print_message("Your password must be changed before you can log in.")
    secret = password_input.prompt_new_password()
    body = {"token": reset_token, "new_password": secret}
    client.transport.request("POST", "/v1/password/reset", json=body)
    return secret


def _require_usable_store() -> None:
    """Raise StoreError before the user enters or approves a login that could not be stored."""
    from doorward.store import keyring_secrets
    from doorward.store.location import resolve_location
    from doorward.store.store import InstanceAuthSessions

    location = resolve_location(None)
    if location.uses_keyring:
        keyring_secrets.require_keyring()
    InstanceAuthSessions.load(location)
    with location.hold_lock():
        return


def _save_session(client: Doorward) -> None:
    """Store the session, or log out: a session that is not stored could not be ended from here."""
    try:
        client.session.to_store()
    except DoorwardError:
        with suppress(DoorwardError):
            client.logout()
        raise


def _print_result(client: Doorward, me: Me, form: str, requested: timedelta | None) -> None:
    from doorward.store.location import get_store_path

    result = {
        "url": client.url,
        "username": me.account.username,
        "account_id": me.account.id,
        "session_id": me.session.id,
        "scopes": me.scopes,
        "session_expires_at": me.session.expires_at,
        "store": str(get_store_path()),
    }
    if form != "table":
        show(result, form)
    print_message(f"Logged in at {client.url} as {format_bold(me.account.username)}.")
    expiry = me.session.expires_at
    print_message(
        f"The session expires on {format_local_time(expiry)}"
        f"{_describe_prolongation(expiry, requested)}."
    )
    for sentence in explain_unused_login(client.url, client.session.username):
        print_message(sentence)


def _describe_prolongation(expires_at: datetime | None, requested: timedelta | None) -> str:
    """Describe how use prolongs the session: up to the requested end, if there is one."""
    if requested is None:
        return ", unless you use it before then"
    latest = environment.get_now() + requested
    if expires_at is None or latest - expires_at < PROLONGATION_TOLERANCE:
        return ""
    return f", unless you use it before then, and on {format_local_time(latest)} at the latest"


def _get_device_name() -> str:
    import socket  # imported late, because it is rarely needed

    return f"doorward on {socket.gethostname()}"[:64]
