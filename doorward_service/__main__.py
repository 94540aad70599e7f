"""`python -m doorward_service`: run a command of the service that was installed from a wheel."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    runpy.run_module("app", run_name="__main__", alter_sys=True)
