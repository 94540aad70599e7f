"""`keys`: the signing keys."""

from __future__ import annotations

import sys

import click

from app.adapters import logs
from app.adapters.password_hasher import Capacity
from app.cli.start import EXIT_REFUSED, CreateApp, load_settings_or_exit
from app.server.background_jobs import synchronize_clock
from app.signing_keys.models import SigningKey, SigningKeyState, get_key_state, list_signing_keys
from app.signing_keys.revoke import revoke_signing_key
from app.signing_keys.rotate import (
    get_announcement_period,
    list_required_purposes,
    rotate_signing_key,
)
from app.unit_of_work import UnitOfWorkFactory


def open_application(create_app: CreateApp) -> UnitOfWorkFactory:
    """What a command works with, without serving."""
    logs.configure_logging()
    units: UnitOfWorkFactory = create_app(
        load_settings_or_exit(), capacity=Capacity(workers=1, threads=1)
    ).extensions["doorward"]
    synchronize_clock(units)
    return units


@click.group()
def keys() -> None:
    """The keys that tokens are signed with. They rotate by themselves; see DOORWARD_KEY_ROTATION."""


@keys.command("list")
@click.pass_obj
def keys_list(create_app: CreateApp) -> None:
    """Show every key and what it does now."""
    with open_application(create_app).open_read_only() as work:
        rows = list_signing_keys(work.db)
        for row in rows:
            click.echo(
                f"{row.kid}  {row.algorithm}  {get_key_state(row, rows, work.now):<9}  signs {row.effective_purpose} from {format_start(row)}"
            )
    if not rows:
        click.echo("There is no key yet; the first request makes one.")


@keys.command("rotate")
@click.pass_obj
def keys_rotate(create_app: CreateApp) -> None:
    """Announce the next key of each kind now. It signs once every verifier has had time to hear of it."""
    units = open_application(create_app)
    with units.open_read_write() as work:
        made = [
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
        if key.kid in made:
            click.echo(
                f"{key.kid} is announced and signs {key.effective_purpose} from {format_start(key)}, in {wait} seconds."
            )
        else:
            click.echo(
                f"{key.kid} is announced already and signs {key.effective_purpose} from {format_start(key)}."
            )
    if made:
        click.echo("The present key stays published for its last tokens.")


@keys.command("revoke")
@click.argument("kid")
@click.confirmation_option(
    prompt="If it signs access tokens, this ends every session of every account. Go on?"
)
@click.pass_obj
def keys_revoke(create_app: CreateApp, kid: str) -> None:
    """Take a key out of use at once, because somebody else may have it. Everybody has to sign in again, if it signs access tokens."""
    with open_application(create_app).open_read_write() as work:
        done = revoke_signing_key(work, kid=kid)
    if not done:
        click.echo(
            f"There is no key {kid} that could be revoked; see `python -m app keys list`.", err=True
        )
        sys.exit(EXIT_REFUSED)
    click.echo(f"{kid} is revoked; every process acts on it within five seconds.")
    click.echo("Verifiers that keep the public keys drop it when they read them again.")


def format_start(row: SigningKey) -> str:
    return f"{row.signs_from:%Y-%m-%d %H:%M:%S} UTC"
