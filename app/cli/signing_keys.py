"""`keys`: list, rotate and revoke signing keys."""

from __future__ import annotations

import sys

import click

from app.cli.start import EXIT_REFUSED, load_settings_or_exit, open_application
from app.server.worker import CreateApp
from app.signing_keys.models import SigningKey, SigningKeyState, get_key_state, list_signing_keys
from app.signing_keys.revoke import revoke_signing_key
from app.signing_keys.rotate import (
    get_announcement_period,
    list_required_purposes,
    rotate_signing_key,
)


@click.group()
def keys() -> None:
    """Manage signing keys. They rotate automatically; see DOORWARD_KEY_ROTATION."""


@keys.command("list")
@click.pass_obj
def keys_list(create_app: CreateApp) -> None:
    """List every signing key with its state."""
    with open_application(create_app, load_settings_or_exit()).open_read_only() as work:
        rows = list_signing_keys(work.db)
        for row in rows:
            click.echo(
                f"{row.kid}  {row.algorithm}  {get_key_state(row, rows, work.now):<9}  "
                f"signs {row.effective_purpose} from {_format_start(row)}"
            )
    if not rows:
        click.echo("There are no keys yet. The first request creates one.")


@keys.command("rotate")
@click.pass_obj
def keys_rotate(create_app: CreateApp) -> None:
    """Announce the next key of each kind now. It signs as soon as every verifier can know it."""
    units = open_application(create_app, load_settings_or_exit())
    with units.open_read_write() as work:
        created = [
            key.kid
            for purpose in list_required_purposes(units.settings)
            if (key := rotate_signing_key(work, purpose)) is not None
        ]
        rows = list_signing_keys(work.db)
        announced = [
            row for row in rows if get_key_state(row, rows, work.now) is SigningKeyState.ANNOUNCED
        ]
    wait = int(get_announcement_period(units.settings).total_seconds())
    for key in announced:
        start = f"signs {key.effective_purpose} from {_format_start(key)}"
        if key.kid in created:
            click.echo(f"Announced {key.kid}. It {start}, in {wait} seconds.")
        else:
            click.echo(f"{key.kid} is already announced and {start}.")
    if created:
        click.echo("The current key stays published until its last tokens expire.")


@keys.command("revoke")
@click.argument("kid")
@click.confirmation_option(
    prompt="If this key signs access tokens, every session of every account ends. Continue?"
)
@click.pass_obj
def keys_revoke(create_app: CreateApp, kid: str) -> None:
    """Revoke a compromised key immediately.

    If it signs access tokens, every user has to sign in again.
    """
    units = open_application(create_app, load_settings_or_exit())
    with units.open_read_write() as work:
        is_revoked = revoke_signing_key(work, kid=kid)
    if not is_revoked:
        click.echo(
            f"There is no key {kid} that can be revoked. See `python -m app keys list`.", err=True
        )
        sys.exit(EXIT_REFUSED)
    click.echo(f"Revoked {kid}. Every process applies this within five seconds.")
    click.echo("Verifiers that cache the public keys drop it when they fetch them again.")


def _format_start(row: SigningKey) -> str:
    return f"{row.signs_from:%Y-%m-%d %H:%M:%S} UTC"
