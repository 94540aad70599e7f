"""The README tells the truth: its session works as it stands, its links lead somewhere, its commands exist."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_session_of_the_readme_works_word_for_word(make_live):
    script = re.search(r"<!-- A test runs this block as it stands. -->\n```sh\n(.*?)```", README, re.DOTALL)[1]
    live = make_live()
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={**os.environ, "DOORWARD": live.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"account":{"id":"acc_' in done.stdout
    assert '"username":"ann"' in done.stdout
    assert '"kind":"session"' in done.stdout
    assert done.stdout.strip().endswith("401")


def test_every_link_within_the_repository_leads_somewhere():
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_readme_names_every_room():
    rooms = {path.name for path in (ROOT / "app").iterdir() if (path / "__init__.py").exists()}
    assert rooms <= set(re.findall(r"\b(\w+)/", README))


def test_make_help_names_what_the_readme_uses():
    said = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True).stdout
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"make {target}" in said
