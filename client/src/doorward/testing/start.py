"""What the process of the service runs: finds the service and then becomes server.py.

Run by its path and not imported, so that neither a package `app` of somebody's tests nor their warnings, logs and patches meet the
service.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import runpy
import sys
from contextlib import suppress
from pathlib import Path

MISSING = 3  # the exit code for: the service is not installed


def found() -> bool:
    """Is the service there? It has a folder of its own, which goes first: whatever else is called `app` there is not the service."""
    with suppress(importlib.metadata.PackageNotFoundError):
        sys.path.insert(
            0,
            str(
                importlib.metadata.distribution("doorward-service").locate_file("doorward_service")
            ),
        )
    with suppress(ImportError):
        return importlib.util.find_spec("app.signing_keys") is not None
    return False


if __name__ == "__main__":
    if not found():
        sys.exit(MISSING)
    runpy.run_path(str(Path(__file__).with_name("server.py")), run_name="__main__")
