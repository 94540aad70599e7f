"""The README is true: its session works as printed, its links resolve, its commands exist."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PROGRAMS = (ROOT / "docs" / "programs.md").read_text()
BLOCK = re.compile(r"<!-- A test runs this block .*? -->\n```sh\n(.*?)```", re.DOTALL)


def test_readme_session_works_verbatim(make_live):
    first, then = BLOCK.findall(README), BLOCK.findall(PROGRAMS)
    assert (len(first), len(then)) == (1, 4)
    script = "echo\n".join([*first, *then])
    live = make_live()
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={**os.environ, "DOORWARD": live.url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert '"account":{"id":"acc_' in result.stdout
    assert '"username":"ann"' in result.stdout
    assert '"kind":"session"' in result.stdout
    assert "\n401\n" in result.stdout
    assert '"kind":"api_key"' in result.stdout
    assert (
        result.stdout.count('"state":"')
        == result.stdout.count('"state":"claimed"') + result.stdout.count('"state":"approved"')
        == 2
    )
    assert '"refresh_token":"dwr' in result.stdout.splitlines()[-1], (
        "the approved device login has tokens"
    )


def test_every_internal_link_resolves():
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target, place in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", document.read_text()):
            if "://" not in target:
                page = document.parent / target if target else document
                assert page.exists(), f"{document.name}: {target}"
                assert not place or place in find_headings(page), (
                    f"{document.name}: {target}#{place}"
                )


def find_headings(page: Path) -> set[str]:
    """Return the anchors of all headings, as code hosts build them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }


def test_contributing_names_every_package():
    rooms = {path.name for path in (ROOT / "app").iterdir() if (path / "__init__.py").exists()}
    assert rooms <= set(re.findall(r"\b(\w+)/", (ROOT / "CONTRIBUTING.md").read_text()))


def test_every_document_is_reachable_from_the_readme():
    seen, ahead = set(), [ROOT / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in seen:
            seen.add(page)
            ahead += [
                (page.parent / target).resolve()
                for target in re.findall(r"\]\(([^)#:]+\.md)", page.read_text())
            ]
    assert set((ROOT / "docs").rglob("*.md")) <= seen


def test_make_help_lists_the_targets_of_the_readme():
    output = subprocess.run(
        ["make", "help"], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True
    ).stdout
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"make {target}" in output
