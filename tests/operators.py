"""An operator: types commands, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from tests.actors import SECRET
from tests.live import ROOT, clean_environment


def type_command(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m app …` with these settings."""
    cheap = {"DOORWARD_SECRET_KEY": SECRET, "DOORWARD_ARGON2_MEMORY_KIB": "64", "DOORWARD_ARGON2_TIME_COST": "1"}
    return subprocess.run(
        [sys.executable, "-m", "app", *words],
        cwd=ROOT,
        env={**clean_environment(), **cheap, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
