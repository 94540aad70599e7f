"""The help as it is laid out: at most 80 columns, and what click does not do, fewer where the terminal has fewer."""

from __future__ import annotations

import shutil
from collections.abc import Iterable

import click

WIDE, NARROW = 50, 20  # columns: the least that click lays out for, and the least here
FIRST = 8  # columns for names of options in a narrow terminal; below longer ones, what they do begins in the next line


class HelpPage(click.HelpFormatter):
    """Where a terminal is narrower than click thinks of, names and what they do stand below each other."""

    def __init__(
        self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None
    ) -> None:
        here = shutil.get_terminal_size().columns - 2
        super().__init__(
            indent_increment,
            max(here, NARROW) if width is None and here < WIDE else width,
            max_width,
        )

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        super().write_dl([*rows], FIRST if self.width < WIDE else col_max, col_spacing)


class HelpContext(click.Context):
    """For commands whose help is such a page."""

    formatter_class = HelpPage
