"""The name of this program and machine, shown to the approver, and the default prompt output."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from doorward.device_login.prompt import Prompt

MAX_NAME_LENGTH = 64


def get_program_name() -> str:
    """Return the name of the script, or of the package for `python -m`."""
    path = Path(sys.argv[0] if sys.argv else "")
    name = path.parent.name if path.name == "__main__.py" else path.name
    return name[:MAX_NAME_LENGTH] if name and name != "-c" else "Python"


def get_hostname() -> str:
    """Return the name of this machine."""
    import socket  # imported late, because it is rarely needed

    return socket.gethostname()[:MAX_NAME_LENGTH]


def print_prompt(prompt: Prompt) -> None:
    """Write the prompt to standard error."""
    sys.stderr.write(f"{prompt}\n")
    sys.stderr.flush()
