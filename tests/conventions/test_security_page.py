"""Each row of docs/security.md names files and tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
COLUMNS = ["row", "requirement", "source", "code", "tests"]
TEST = re.compile(r"`([a-z]+/test_\w+\.py)::(test_\w+)`")
LINK = re.compile(r"\]\(([^)]+)\)")


def read_rows() -> list[list[str]]:
    """Return the cells of every row of the tables of requirements."""
    found, inside = [], False
    for line in PAGE.read_text().splitlines():
        cells = (
            [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        )
        if cells == COLUMNS:
            inside = True
        elif not cells:
            inside = False
        elif inside and not set(line) <= set("|-"):
            found.append(cells)
    return found


@cache
def find_tests(file: str) -> set[str]:
    """Return the tests that pytest would find there."""
    path = ROOT / "tests" / file
    assert path.exists(), f"docs/security.md names tests/{file}"
    return {
        node.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


ROWS = read_rows()


def test_page_has_its_tables_and_each_row_a_unique_name():
    names = [row[0] for row in ROWS]
    assert len(names) > 50
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"`[a-z]+(-[a-z]+)*`", name) for name in names)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("`"))
def test_each_row_names_its_source_its_files_and_its_tests(row):
    assert len(row) == len(COLUMNS)
    _, holds, source, files, attacks = row
    assert holds
    assert source
    linked = LINK.findall(files)
    assert linked
    assert all((PAGE.parent / target).is_file() for target in linked), linked
    named = TEST.findall(attacks)
    assert named
    assert attacks.count("::") == len(named), (
        "each test is written as folder/test_file.py::test_name"
    )
    for file, test in named:
        assert test in find_tests(file), f"{file}::{test}"
