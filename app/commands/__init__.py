"""What an operator types."""

from __future__ import annotations

import click

from app.commands.accounts import accounts
from app.commands.bootstrap_admin import bootstrap_admin
from app.commands.config import config
from app.commands.db import db
from app.commands.doctor import doctor
from app.commands.keys import keys
from app.commands.secrets import secrets
from app.commands.serve import serve
from app.commands.worker import worker


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Doorward, the sign-in service beside your API.

    Settings come from the environment: see `config reference`.
    """


for command in (serve, worker, db, bootstrap_admin, accounts, keys, secrets, doctor, config):
    cli.add_command(command)
