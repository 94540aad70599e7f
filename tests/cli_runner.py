"""Run commands in the test process, which is faster than starting one."""

from __future__ import annotations

import os
from dataclasses import dataclass

from click.testing import CliRunner
from flask import Flask

from app.adapters import logs
from app.cli import cli
from app.factory import create_app
from tests.actors import SECRET
from tests.live import clean_environment
from tests.output import CurrentStdout

CHEAP = {"DOORWARD_ARGON2_MEMORY_KIB": "64", "DOORWARD_ARGON2_TIME_COST": "1"}


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of a command, with the attributes of `subprocess.CompletedProcess`."""

    returncode: int
    stdout: str
    stderr: str


def run_cli(*words: str, **env: str) -> CommandResult:
    """Run `python -m app …` with exactly these settings.

    Not for concurrent use: standard output and the environment are shared.
    """
    made: list[Flask] = []

    def make(*args, **parts) -> Flask:
        made.append(create_app(*args, **parts))
        return made[-1]

    others = dict.fromkeys(os.environ.keys() - clean_environment().keys())
    try:
        ended = CliRunner().invoke(
            cli,
            words,
            obj=make,
            prog_name="python -m app",
            env={**others, "DOORWARD_SECRET_KEY": SECRET, **CHEAP, **env},
        )
    finally:
        logs.configure_logging(CurrentStdout())
        for app in made:
            app.extensions["doorward"].database.engine.dispose()
            app.extensions["doorward"].database.autocommit_engine.dispose()
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return CommandResult(ended.exit_code, ended.stdout, ended.stderr)
