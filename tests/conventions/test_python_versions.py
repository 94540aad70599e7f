"""The service compiles, imports and answers on every supported Python version of this machine.

Each version gets an environment with the locked packages, so this needs a package registry.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.actors import SECRET
from tests.live import ROOT, clean_environment

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
SMOKE = """
from app.cli.db import upgrade_or_exit
from app.factory import create_app
from app.settings import load_settings

settings = load_settings()
upgrade_or_exit(settings)
client = create_app(settings).test_client()
assert client.get("/livez").status_code == 200
assert client.get("/readyz").status_code == 200
assert client.post("/v1/login", json={"username": "ann", "password": "x" * 15}).status_code == 401
"""


def find_interpreter(version: str) -> str | None:
    """Find an interpreter in PATH or among the versions of pyenv."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = sorted((Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/python3"))
    return shutil.which(f"python{version}") or (str(found[-1]) if found else None)


@pytest.mark.parametrize("version", VERSIONS)
def test_service_answers_on_every_supported_python_version(version, tmp_path):
    interpreter = find_interpreter(version)
    if interpreter is None or not _can_run(interpreter):
        pytest.skip(f"Python {version} is not installed")
    python = _create_environment(interpreter, tmp_path / "venv")
    env = {
        **clean_environment(),
        "PYTHONPATH": f"{ROOT}:{ROOT / 'client' / 'src'}",
        "PYTHONPYCACHEPREFIX": str(tmp_path / "bytecode"),
        "DOORWARD_SECRET_KEY": SECRET,
        "DOORWARD_DATABASE_URL": f"sqlite:///{tmp_path}/smoke.db",
    }
    for command in (
        ["-m", "compileall", "-q", str(ROOT / "app"), str(ROOT / "client" / "src")],
        ["-c", SMOKE],
        ["-m", "doorward", "--help"],
    ):
        result = subprocess.run(
            [python, "-W", "error::SyntaxWarning", *command],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert result.returncode == 0, result.stderr


def _can_run(interpreter: str) -> bool:
    return subprocess.run([interpreter, "-c", ""], capture_output=True, check=False).returncode == 0


def _create_environment(interpreter: str, folder: Path) -> str:
    """Create an environment with the packages of requirements/run.txt. Skips without registry."""
    if interpreter == sys.executable:
        return interpreter
    subprocess.run([interpreter, "-m", "venv", folder], check=True, timeout=120)
    python = str(folder / "bin" / "python")
    result = subprocess.run(
        [
            python,
            *("-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--require-hashes", "--requirement", ROOT / "requirements" / "run.txt"),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    if result.returncode:
        pytest.skip(f"the packages cannot be installed: {result.stderr.strip().splitlines()[-1]}")
    return python
