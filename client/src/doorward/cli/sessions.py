"""`doorward logout`, `whoami` and `sessions`."""

from __future__ import annotations

import click

from doorward import environment as here
from doorward.cli.edge import Plain, SubGroup
from doorward.cli.opened import STORE, TOKEN, credential, opened
from doorward.cli.options import at_service, printing
from doorward.cli.shown import show, show_sessions
from doorward.cli.terminal import say
from doorward.cli.written import ago, plain
from doorward.errors import InvalidInput, NotLoggedInError

BY_KEY = "with_api_key"


@click.command(cls=Plain)
@click.option("--all", "everywhere", is_flag=True, help="End all your sessions, on every device.")
@at_service
def logout(url: str | None, user: str | None, *, everywhere: bool) -> None:
    """End the session and forget it here.

    Its tokens stop at once. Where nobody is logged in, nothing happens.
    """
    try:
        client = opened(url, user)
    except NotLoggedInError:
        if everywhere:
            raise
        say("Nobody was logged in.")
        return
    if client.session.login_method == BY_KEY:
        raise InvalidInput(
            "DOORWARD_TOKEN holds an API key, which is no session: unset it, or end it with doorward keys delete."
        )
    who = (
        f" {client.session.username}" if credential(client) == STORE else ""
    )  # another token is not asked about for this
    if everywhere:
        client.logout_all()
        say(f"Logged out{who} everywhere at {client.url}.")
    else:
        client.logout()
        say(f"Logged out{who} at {client.url}.")


@click.command(cls=Plain)
@printing
@at_service
def whoami(url: str | None, user: str | None, form: str) -> None:
    """Say who you are to the service, and what you may do."""
    client = opened(url, user)
    found = client.validate()
    by = f"session {found.session_id}" if found.session_id else f"key {found.key_id}"
    rows = {
        "Account": f"{found.username} ({found.account_id})",
        "At": client.url,
        "By": by if credential(client) == STORE else f"{by} of {TOKEN}",
        "Scopes": found.scopes,
        "Roles": found.roles,
        "Token ends": ago(found.expires_at, here.get_now()),
    }
    show({"url": client.url, **_fields(found)}, form, rows)


@click.group(cls=SubGroup, default="list")
def sessions() -> None:
    """Your sessions on all devices; without a command, list them."""


@sessions.command("list")
@printing
@at_service
def sessions_list(url: str | None, user: str | None, form: str) -> None:
    """List your living sessions, the newest first."""
    show_sessions(opened(url, user).sessions(), form)


@sessions.command("end")
@click.argument("session_id", metavar="ID")
@at_service
def sessions_end(session_id: str, url: str | None, user: str | None) -> None:
    """End the session ID; its tokens stop at once."""
    client = opened(url, user)
    if session_id == client.session.session_id:
        client.logout()
    else:
        client.revoke_session(session_id)
    say("The session is over.")


@sessions.command("end-others")
@at_service
def sessions_end_others(url: str | None, user: str | None) -> None:
    """End all your sessions but this one."""
    opened(url, user).revoke_other_sessions()
    say("All other sessions are over.")


def _fields(found: object) -> dict[str, object]:
    fields = plain(found)
    return fields if isinstance(fields, dict) else {}
