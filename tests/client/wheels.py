"""Builds the wheels of both distributions as pip does."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

CACHE = Path(sys.prefix) / "wheels-for-tests"
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
IGNORED = shutil.ignore_patterns("__pycache__", "*.egg-info", "build")


class RegistryUnavailable(Exception):
    """The build backend is not installed, and no registry is available."""


def build_wheel(source: Path, to: Path) -> Path:
    """Build the wheel of the distribution in the folder `source`. Raises RegistryUnavailable."""
    backend = _install_backend(
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
                shutil.copytree(source / name, copy / name, ignore=IGNORED)
            elif (source / name).exists():
                shutil.copy(source / name, copy / name)
        command = [sys.executable, "-c", BUILD, str(to)]
        result = subprocess.run(
            command,
            cwd=copy,
            env={"PYTHONPATH": str(backend)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert result.returncode == 0, result.stderr
    return max(to.glob("*.whl"), key=lambda wheel: wheel.stat().st_mtime_ns)


def unpack_wheels(wheels: list[Path], to: Path) -> Path:
    """Install the wheels. They are pure Python, so unpacking is enough."""
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as files:
            files.extractall(to)
    return to


def _install_backend(requires: list[str]) -> Path:
    """Install a build backend that can read our pyproject.toml, once per environment."""
    kept = CACHE / "-".join(requires).replace(">=", "-from-")
    if kept.exists():
        return kept
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as made:
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
            raise RegistryUnavailable(
                f"pip install {' '.join(requires)} failed: it needs a registry once"
            ) from error
        try:
            target.rename(kept)
        except OSError:
            assert kept.exists(), "the backend could not be moved into the cache"
    return kept
