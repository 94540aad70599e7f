"""The command line interface: `python -m app`."""

from __future__ import annotations

from app.cli import cli
from app.factory import create_app

if __name__ == "__main__":
    cli(obj=create_app, prog_name="python -m app")
