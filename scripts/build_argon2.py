"""`python -m scripts.build_argon2`: build Argon2 for newer processors beside the portable build.

The wheel of argon2-cffi-bindings runs on every x86-64 processor. The same source, built for
x86-64-v3 (AVX2), takes half the time. `app/adapters/argon2_build.py` chooses at start. Does nothing
on other machines and where there is no compiler.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from tempfile import TemporaryDirectory

from app.adapters.argon2_build import BUILD_FOLDER

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "argon2-cffi-bindings"
TARGET = Path(sysconfig.get_path("platlib")) / BUILD_FOLDER
FLAGS = "-O3 -march=x86-64-v3"


def main() -> int:
    if platform.machine() != "x86_64" or sys.platform != "linux":
        print("Argon2: the portable build is used on this machine.")
        return 0
    if shutil.which("cc") is None:
        print("Argon2: no C compiler, so the portable build is used. It takes twice the time.")
        return 0
    with TemporaryDirectory() as folder:
        _install(
            "--requirement", str(ROOT / "requirements" / "build.txt"), target=f"{folder}/tools"
        )
        pinned = Path(folder) / "argon2.txt"
        pinned.write_text(_read_requirement())
        shutil.rmtree(TARGET, ignore_errors=True)
        _install(
            *("--no-deps", "--no-build-isolation", "--no-cache-dir"),
            *("--no-binary", PACKAGE, "--requirement", str(pinned)),
            target=str(TARGET),
            env={"CFLAGS": FLAGS, "PYTHONPATH": f"{folder}/tools"},
        )
    print("Argon2: built for x86-64-v3.")
    return 0


def _read_requirement() -> str:
    """Return the pinned version of the package with its hashes."""
    text = (ROOT / "requirements" / "run.txt").read_text()
    found = re.search(rf"^{PACKAGE}==.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise RuntimeError(f"{PACKAGE} is not in requirements/run.txt")
    return found[0]


def _install(*options: str, target: str, env: dict[str, str] | None = None) -> None:
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run(  # noqa: S603 - fixed words and files of this repository
        [*pip, "--require-hashes", "--target", target, *options],
        check=True,
        env={**os.environ, **(env or {})},
    )


if __name__ == "__main__":
    sys.exit(main())
