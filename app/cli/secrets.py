"""`secrets`: what is encrypted under SECRET_KEY."""

from __future__ import annotations

import click

from app.cli.signing_keys import open_application
from app.cli.start import CreateApp
from app.notifications.outbox.models import rewrap_deliveries as rewrap_outbox
from app.signing_keys.models import reseal_signing_keys as rewrap_signing_keys


@click.group()
def secrets() -> None:
    """What is encrypted under DOORWARD_SECRET_KEY."""


@secrets.command("rewrap")
@click.pass_obj
def secrets_rewrap(create_app: CreateApp) -> None:
    """Encrypt everything anew under the first key of DOORWARD_SECRET_KEY, after a new one was put in front."""
    units = open_application(create_app)
    with units.open_read_write() as work:
        signing_keys, lost_keys = rewrap_signing_keys(work.db, units.settings.secret_key, work.now)
    with units.open_read_write() as work:
        mail, lost_mail = rewrap_outbox(work.db, units.settings.secret_key)
    click.echo(f"Encrypted anew: {signing_keys} signing keys, {mail} messages.")
    if lost_keys or lost_mail:
        click.echo(
            f"Their key is no longer in the list: {lost_keys} signing keys, {lost_mail} messages. See `python -m app doctor`.",
            err=True,
        )
    click.echo(
        "Refresh tokens made under an older key work while it stays in the list: keep it for 30 days."
    )
