"""Starts server.py in the process of the test service.

It is run by its path instead of imported, so that the service is not affected by a package `app`
of the tests, or by their warning filters, log settings and patches.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import runpy
import sys
from contextlib import suppress
from pathlib import Path

EXIT_NOT_INSTALLED = 3


def add_service_to_path() -> bool:
    """Put the folder of the service first on the import path. Returns whether it is installed."""
    with suppress(importlib.metadata.PackageNotFoundError):
        distribution = importlib.metadata.distribution("doorward-service")
        sys.path.insert(0, str(distribution.locate_file("doorward_service")))
    with suppress(ImportError):
        return importlib.util.find_spec("app.signing_keys") is not None
    return False


if __name__ == "__main__":
    if not add_service_to_path():
        sys.exit(EXIT_NOT_INSTALLED)
    runpy.run_path(str(Path(__file__).with_name("server.py")), run_name="__main__")
