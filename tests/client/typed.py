"""What somebody types after `doorward`, in this process: where it ran to the end, and what it wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from doorward.cli.main import cli


@dataclass(frozen=True)
class Written:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def doorward(*words: str, stdin: str | bytes | None = None, **env: str | None) -> Written:
    """Standard input is no terminal, as in a script."""
    done = CliRunner().invoke(cli, list(words), input=stdin, env=env, prog_name="doorward")
    return Written(done.exit_code, done.stdout, done.stderr)
