"""Installed packages are the pinned ones, with hashes, none older than its last known vulnerability."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCKS = [ROOT / "requirements" / "run.txt", ROOT / "requirements" / "dev.txt"]
# The first release without the named vulnerability.
FLOORS = {
    "pyjwt": "2.13.0",  # CVE-2026-32597, CVE-2026-48523, CVE-2026-48524
    "flask": "3.1.3",  # CVE-2026-27205
    "uvicorn": "0.11.7",  # CVE-2020-7694, CVE-2020-7695
}


def parse_entries(lock: Path) -> dict[str, str]:
    """Return each pinned package with its options, by name."""
    blocks = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n?", "", lock.read_text()))
    return {re.split(r"[=\[ ;<>]", block)[0].lower(): block for block in blocks if block.strip()}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_package_is_pinned_with_hashes(lock):
    locked = parse_entries(lock)
    assert len(locked) > 20
    for name, block in locked.items():
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[0-9][^\s;]*", block), name
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), name
        assert not re.search(r"https?://|git\+|--index|-e ", block), name


@pytest.mark.parametrize("name", FLOORS)
def test_no_package_predates_its_last_security_fix(name):
    for lock in LOCKS:
        if name in parse_entries(lock):
            assert Version(re.search(r"==([^\s;]+)", parse_entries(lock)[name])[1]) >= Version(
                FLOORS[name]
            )
    assert Version(version(name)) >= Version(FLOORS[name])


def test_wheel_declares_every_dependency():
    wanted = {
        line
        for line in (ROOT / "requirements" / "run.in").read_text().splitlines()
        if not line.startswith("#")
    }
    assert {
        *tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    } == wanted


def test_only_pinned_packages_are_installed():
    text = (ROOT / "Makefile").read_text()
    installs = [line for line in text.splitlines() if "pip install" in line]
    assert installs
    assert all("--require-hashes" in line for line in installs)
    assert "--require-hashes" in (ROOT / "Dockerfile").read_text()
