"""Runs the command line in this process."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from doorward.cli.main import cli


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def run_doorward(*words: str, stdin: str | bytes | None = None, **env: str | None) -> Result:
    """Run `doorward` with the arguments. Standard input is not a terminal, as in a script."""
    result = CliRunner().invoke(cli, list(words), input=stdin, env=env, prog_name="doorward")
    return Result(result.exit_code, result.stdout, result.stderr)
