"""Commands for operators: `python -m app …`."""

from __future__ import annotations

import click

from app.cli.accounts import accounts
from app.cli.bootstrap_admin import bootstrap_admin
from app.cli.config import config
from app.cli.db import db
from app.cli.doctor import doctor
from app.cli.secrets import secrets
from app.cli.serve import serve
from app.cli.signing_keys import keys
from app.cli.worker import worker


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Doorward, an authentication service for your API.

    Settings are environment variables; see `config reference`.
    """


for command in (serve, worker, db, bootstrap_admin, accounts, keys, secrets, doctor, config):
    cli.add_command(command)
