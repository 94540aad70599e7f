"""`secrets`: re-encrypt stored secrets after DOORWARD_SECRET_KEY changes."""

from __future__ import annotations

import click

from app.cli.start import load_settings_or_exit, open_application
from app.notifications.outbox.models import rewrap_deliveries
from app.server.worker import CreateApp
from app.signing_keys.models import reseal_signing_keys


@click.group()
def secrets() -> None:
    """Manage data that is encrypted with DOORWARD_SECRET_KEY."""


@secrets.command("rewrap")
@click.pass_obj
def secrets_rewrap(create_app: CreateApp) -> None:
    """Re-encrypt everything with the first key of DOORWARD_SECRET_KEY.

    Run this after you put a new key in front of the old ones.
    """
    units = open_application(create_app, load_settings_or_exit())
    with units.open_read_write() as work:
        keys, lost_keys = reseal_signing_keys(work.db, units.settings.secret_key, work.now)
    with units.open_read_write() as work:
        emails, lost_emails = rewrap_deliveries(work.db, units.settings.secret_key)
    click.echo(f"Re-encrypted {keys} signing keys and {emails} messages.")
    if lost_keys or lost_emails:
        click.echo(
            f"Could not decrypt {lost_keys} signing keys and {lost_emails} messages, because their "
            "secret key is no longer in DOORWARD_SECRET_KEY. See `python -m app doctor`.",
            err=True,
        )
    click.echo(
        "Keep the old key in DOORWARD_SECRET_KEY for 30 days, so that existing refresh tokens work."
    )
