"""The distribution: dependencies, import cost and types."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib

import pytest

import doorward
from tests.client.conftest import SOURCES, build_environment
from tests.client.wheels import RegistryUnavailable, build_wheel
from tests.live import ROOT

CLIENT = ROOT / "client"
DEPENDENCIES = {"click", "filelock", "httpx2", "platformdirs", "segno"}

IMPORTS = """
import time
before = time.process_time()
import doorward
print(time.process_time() - before)
"""

SCRIPT = """
from datetime import datetime

import doorward
from doorward import AuthSession, Doorward, DoorwardAuth, DoorwardError, InstanceAuthSessions, LoginDenied, Prompt, Session, Whoami


def show(prompt: Prompt) -> None:
    print(prompt.user_code, prompt.seconds_left)


def main() -> str:
    client = Doorward("https://auth.example.com")
    try:
        session: Session = client.login.on_another_device(on_prompt=show, timeout=60.0)
    except LoginDenied as error:
        return error.request_id
    except DoorwardError as error:
        return f"{error}"
    expires_at: datetime | None = session.expires_at
    who: Whoami = client.whoami()
    kept: AuthSession | None = InstanceAuthSessions.load().find(client.url, who.username)
    auth = DoorwardAuth(client, origins=["https://api.example.com"])
    return f"{client.token} {expires_at} {kept} {auth} {doorward.__version__}"
"""
WRONG = """
from doorward import Doorward

number: int = Doorward("https://auth.example.com").token
"""


def test_dependencies_are_few():
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    assert {re.split(r"[^a-z0-9]", one)[0] for one in project["dependencies"]} == DEPENDENCIES
    assert set(project["optional-dependencies"]) == {"keyring", "requests", "testing"}
    assert project["version"] == doorward.__version__


def test_client_does_not_import_the_service():
    for path in (SOURCES / "doorward").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            foreign = [name for name in names if name.split(".")[0] in {"app", "tests"}]
            assert not foreign or path.is_relative_to(SOURCES / "doorward" / "testing"), (
                f"{path}: {foreign}"
            )


def test_service_does_not_import_the_client():
    for path in (ROOT / "app").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) doorward\b", path.read_text(), re.MULTILINE), path


def test_no_file_is_too_long():
    long = {
        path.name: count
        for path in SOURCES.rglob("*.py")
        if (count := len(path.read_text().splitlines())) > 300
    }
    assert long == {}


def test_clock_and_environment_are_read_in_one_file():
    found = {
        path.name
        for path in (SOURCES / "doorward").rglob("*.py")
        if re.search(r"os\.environ|datetime\.now|time\.time\(", path.read_text())
    }
    assert found == {"environment.py"}


def test_every_public_name_can_be_imported():
    for name in doorward.__all__:
        assert getattr(doorward, name).__module__.startswith("doorward."), name
    typed = set(
        re.findall(
            r" import \w+ as (\w+)$",
            (SOURCES / "doorward" / "__init__.py").read_text(),
            re.MULTILINE,
        )
    )
    assert typed == {*doorward.__all__, "__version__"}
    assert {*doorward.__all__, "__version__"} <= set(dir(doorward))
    with pytest.raises(AttributeError):
        _ = doorward.nothing


def test_import_is_fast():
    spent = []
    for _ in range(3):
        result = subprocess.run(
            [sys.executable, "-c", IMPORTS],
            env=build_environment(),
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        spent.append(float(result.stdout))
    assert min(spent) < 0.15, spent


@pytest.fixture(scope="module")
def installed_client(tmp_path_factory):
    """A virtual environment with the wheel of the client and its dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    try:
        wheel = build_wheel(CLIENT, folder)
    except RegistryUnavailable as error:
        pytest.skip(str(error))
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True, timeout=60
    )
    python = folder / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    result = subprocess.run(
        [*pip, "install", "--quiet", "--no-compile", wheel],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    if result.returncode:
        pytest.skip(f"the dependencies are not available: {result.stderr[-300:]}")
    return python, pip


def run_isolated(*command: object, **more: str) -> subprocess.CompletedProcess[str]:
    """Run without access to this repository."""
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "DOORWARD"))
    }
    return subprocess.run(
        [str(one) for one in command],
        env={**env, **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )


def test_wheel_is_self_contained(installed_client, tmp_path):
    python, pip = installed_client
    listed = run_isolated(*pip, "list", "--format=freeze").stdout.split()
    assert len(listed) <= 12, listed
    assert f"doorward=={doorward.__version__}" in listed
    assert "doorward-service" not in str(listed)
    script = "import doorward; [getattr(doorward, n) for n in doorward.__all__ if n != 'RequestsAuth']; print(doorward.__version__)"
    result = run_isolated(python, "-c", script)
    assert (result.stdout.strip(), result.returncode) == (doorward.__version__, 0), result.stderr
    spent = min(float(run_isolated(python, "-c", IMPORTS).stdout) for _ in range(3))
    assert spent < 0.15
    check_types(python, tmp_path)


def check_types(python, tmp_path):
    """Check a user's script against the installed types (PEP 561)."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--python-executable",
        python,
        "--config-file",
        os.devnull,
    ]
    for name, text, code in (("script.py", SCRIPT, 0), ("wrong.py", WRONG, 1)):
        (tmp_path / name).write_text(text)
        result = run_isolated(
            *command, "--cache-dir", ROOT / ".mypy_cache" / "client", tmp_path / name
        )
        assert result.returncode == code, result.stdout + result.stderr
