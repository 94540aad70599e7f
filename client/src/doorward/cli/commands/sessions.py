"""`doorward logout`, `doorward whoami` and `doorward sessions`."""

from __future__ import annotations

import click

from doorward import environment
from doorward.cli.credentials import STORE, TOKEN, get_credential_source, open_client
from doorward.cli.formats import to_fields
from doorward.cli.groups import CommandGroup, SafeCommand
from doorward.cli.options import output_option, with_service_options
from doorward.cli.output import show, show_sessions
from doorward.cli.tables import format_relative_time
from doorward.cli.terminal import print_message
from doorward.errors import InvalidInput, NotLoggedInError

API_KEY_METHOD = "with_api_key"


@click.command(cls=SafeCommand)
@click.option("--all", "everywhere", is_flag=True, help="Log out of all your sessions.")
@with_service_options
def logout(url: str | None, user: str | None, *, everywhere: bool) -> None:
    """Log out and remove the session from the store.

    Its tokens become invalid at once. If you are not logged in, nothing happens.
    """
    try:
        client = open_client(url, user)
    except NotLoggedInError:
        if everywhere:
            raise
        print_message("You are not logged in.")
        return
    if client.session.login_method == API_KEY_METHOD:
        raise InvalidInput(
            "DOORWARD_TOKEN is an API key, which has no session."
            " Unset it, or delete the key with doorward keys delete."
        )
    # The username of another token would need a request.
    name = f" {client.session.username}" if get_credential_source(client) == STORE else ""
    if everywhere:
        client.logout_all()
        print_message(f"Logged out{name} of all sessions at {client.url}.")
    else:
        client.logout()
        print_message(f"Logged out{name} at {client.url}.")


@click.command(cls=SafeCommand)
@output_option
@with_service_options
def whoami(url: str | None, user: str | None, form: str) -> None:
    """Show your account, scopes and roles."""
    client = open_client(url, user)
    found = client.validate()
    credential = f"session {found.session_id}" if found.session_id else f"key {found.key_id}"
    if get_credential_source(client) != STORE:
        credential = f"{credential} in {TOKEN}"
    rows = {
        "Account": f"{found.username} ({found.account_id})",
        "Service": client.url,
        "Credential": credential,
        "Scopes": found.scopes,
        "Roles": found.roles,
        "Token expires": format_relative_time(found.expires_at, environment.get_now()),
    }
    show({"url": client.url, **to_fields(found)}, form, rows)


@click.group(cls=CommandGroup, default="list")
def sessions() -> None:
    """Manage your sessions. Without a subcommand, list them."""


@sessions.command("list")
@output_option
@with_service_options
def list_sessions(url: str | None, user: str | None, form: str) -> None:
    """List your active sessions, newest first."""
    show_sessions(open_client(url, user).list_sessions(), form)


@sessions.command("end")
@click.argument("session_id", metavar="ID")
@with_service_options
def end_session(session_id: str, url: str | None, user: str | None) -> None:
    """Revoke the session ID, with immediate effect."""
    client = open_client(url, user)
    if session_id == client.session.session_id:
        client.logout()
    else:
        client.revoke_session(session_id)
    print_message("Session revoked.")


@sessions.command("end-others")
@with_service_options
def end_other_sessions(url: str | None, user: str | None) -> None:
    """Revoke all your sessions except this one."""
    open_client(url, user).revoke_other_sessions()
    print_message("All other sessions were revoked.")
