"""Both distributions as wheels, built the way pip builds them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

KEPT = Path(sys.prefix) / "wheels-for-tests"
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")


class NoRegistry(Exception):
    """What builds wheels is not here, and no registry hands it out."""


def built(source: Path, to: Path) -> Path:
    """The wheel of the distribution whose pyproject.toml lies in the folder `source`. Raises NoRegistry."""
    backend = _backend(
        tomllib.loads((source / "pyproject.toml").read_text())["build-system"]["requires"]
    )
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "source"
        copy.mkdir()
        for name in (
            "pyproject.toml",
            "setup.py",
            "README.md",
            "LICENSE",
            "app",
            "config",
            "doorward_service",
            "migrations",
            "src",
        ):
            if (source / name).is_dir():
                shutil.copytree(source / name, copy / name, ignore=LEFT_OUT)
            elif (source / name).exists():
                shutil.copy(source / name, copy / name)
        command = [sys.executable, "-c", BUILD, str(to)]
        done = subprocess.run(
            command,
            cwd=copy,
            env={"PYTHONPATH": str(backend)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return max(to.glob("*.whl"), key=lambda wheel: wheel.stat().st_mtime_ns)


def unpacked(wheels: list[Path], to: Path) -> Path:
    """Installed: each is pure Python, for which unpacking is all there is to it."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as files:
            files.extractall(to)
    return to


def _backend(requires: list[str]) -> Path:
    """Fetched once for each environment: what a virtual environment has may be too old to read our pyproject.toml."""
    kept = KEPT / "-".join(requires).replace(">=", "-from-")
    if kept.exists():
        return kept
    KEPT.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=KEPT) as made:
        target = Path(made) / "all"
        options = [
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--retries",
            "1",
            "--timeout",
            "10",
        ]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", target]
        try:
            subprocess.run([*command, *requires], capture_output=True, timeout=60, check=True)
        except subprocess.SubprocessError as error:
            raise NoRegistry(
                f"pip install {' '.join(requires)} failed: it needs a registry once"
            ) from error
        try:
            target.rename(kept)
        except OSError:
            assert kept.exists(), "neither this process nor another could put it there"
    return kept
