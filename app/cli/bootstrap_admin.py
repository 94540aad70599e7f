"""`bootstrap-admin`: the first administrator. There is no default account; whoever can type here may make one."""

from __future__ import annotations

import sys

import click

from app.adapters import logs
from app.adapters.password_hasher import Capacity
from app.cli.db import find_schema_problem
from app.cli.start import EXIT_REFUSED, EXIT_SCHEMA, CreateApp, load_settings_or_exit
from app.registration.first_admin import LINK_LIFETIME, InvitationRejected, invite_first_admin
from app.server.background_jobs import synchronize_clock
from app.unit_of_work import UnitOfWorkFactory


@click.command("bootstrap-admin")
@click.option("--username", required=True, help="What the administrator signs in with.")
@click.option("--email", required=True, help="The administrator's address.")
@click.pass_obj
def bootstrap_admin(create_app: CreateApp, *, username: str, email: str) -> None:
    """Print a link that makes the first administrator.

    Whoever opens it within 60 minutes chooses the password. It works once, and only while no account has the role admin; calling
    this again ends the older link. It begins with DOORWARD_PUBLIC_URL (or is made from DOORWARD_LINK_CONFIRM). Standard output
    holds the link and nothing else.
    """
    logs.configure_logging(sys.stderr)
    settings = load_settings_or_exit()
    fault = find_schema_problem(settings)
    if fault:
        click.echo(fault, err=True)
        sys.exit(EXIT_SCHEMA)
    units: UnitOfWorkFactory = create_app(
        settings, capacity=Capacity(workers=1, threads=1)
    ).extensions["doorward"]
    synchronize_clock(units)
    try:
        with units.open_read_write() as work:
            link = invite_first_admin(work, username=username, email=email)
    except InvitationRejected as reason:
        click.echo(str(reason), err=True)
        sys.exit(EXIT_REFUSED)
    minutes = int(LINK_LIFETIME.total_seconds() // 60)
    click.echo(
        f"Open this link within {minutes} minutes and choose a password; it works once:", err=True
    )
    click.echo(link)
