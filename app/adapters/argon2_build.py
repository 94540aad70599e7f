"""The choice between two builds of Argon2, made before the library is imported.

Importing `app.adapters` calls `select_build`.
"""

from __future__ import annotations

import platform
import sys
import sysconfig
from pathlib import Path

# Beside the installed packages; scripts/build_argon2.py fills it.
BUILD_FOLDER = "argon2-x86-64-v3"
PORTABLE, OPTIMIZED = "portable", "x86-64-v3"
MODULE = "_argon2_cffi_bindings"
# What x86-64-v3 has beyond x86-64-v2 (x86-64 psABI), as /proc/cpuinfo names it.
REQUIRED_FLAGS = frozenset({"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"})


def select_build() -> None:
    """Make `import argon2` load the optimized build where it is installed and can run."""
    folder = Path(sysconfig.get_path("platlib")) / BUILD_FOLDER
    if (folder / MODULE).is_dir() and _has_required_flags():
        sys.path.insert(0, str(folder))


def get_build() -> str:
    """Return which build is in use."""
    path = getattr(sys.modules.get(MODULE), "__file__", None) or ""
    return OPTIMIZED if BUILD_FOLDER in path else PORTABLE


def _has_required_flags() -> bool:
    if platform.machine() != "x86_64":
        return False
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return set(line.split()) >= REQUIRED_FLAGS
