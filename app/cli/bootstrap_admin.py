"""`bootstrap-admin`: invite the first administrator. There is no default account."""

from __future__ import annotations

import sys

import click

from app.adapters import logs
from app.cli.db import require_current_schema
from app.cli.start import EXIT_REFUSED, load_settings_or_exit, open_application
from app.registration.first_admin import LINK_LIFETIME, InvitationRejected, invite_first_admin
from app.server.worker import CreateApp


@click.command("bootstrap-admin")
@click.option("--username", required=True, help="Username of the administrator.")
@click.option("--email", required=True, help="Email address of the administrator.")
@click.pass_obj
def bootstrap_admin(create_app: CreateApp, *, username: str, email: str) -> None:
    """Print a link that creates the first administrator.

    Open the link within 60 minutes and choose a password. It works once, and only while no account
    has the role admin. Running this command again invalidates the previous link. The link begins
    with DOORWARD_PUBLIC_URL, unless DOORWARD_LINK_CONFIRM is set. Standard output contains only
    the link.
    """
    logs.configure_logging(sys.stderr)
    settings = load_settings_or_exit(log_to=sys.stderr)
    require_current_schema(settings)
    units = open_application(create_app, settings)
    try:
        with units.open_read_write() as work:
            link = invite_first_admin(work, username=username, email=email)
    except InvitationRejected as reason:
        click.echo(str(reason), err=True)
        sys.exit(EXIT_REFUSED)
    minutes = int(LINK_LIFETIME.total_seconds() // 60)
    click.echo(
        f"Open this link within {minutes} minutes and choose a password. It works once:", err=True
    )
    click.echo(link)
