"""Who asks to be let in, as the person who approves is told, and where the prompt goes that nobody else shows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from doorward.device_login.prompt import Prompt


def get_program_name() -> str:
    """What a person would call what runs: the file, or the package where it is run by `python -m`."""
    path = Path(sys.argv[0] if sys.argv else "")
    name = path.parent.name if path.name == "__main__.py" else path.name
    return name[:64] if name and name != "-c" else "Python"


def get_hostname() -> str:
    import socket  # only here

    return socket.gethostname()[:64]


def print_prompt(prompt: Prompt) -> None:
    sys.stderr.write(f"{prompt}\n")
    sys.stderr.flush()
