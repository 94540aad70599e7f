"""What an import tells the operator: each refused line, the totals, and meanwhile how far it is."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING

import click

if TYPE_CHECKING:
    from app.registration.import_accounts import ImportResult
    from app.registration.import_candidates import RejectedLine

MAX_LISTED_LINES = 1000
PROGRESS_INTERVAL = 1.0  # seconds between two lines of progress


class ImportReport:
    """Counts everything, and prints the first thousand refused lines as they come."""

    def __init__(self) -> None:
        self.taken = self.refused = 0
        self._reasons: Counter[tuple[str, str]] = Counter()

    def add(self, outcome: ImportResult, unreadable: Sequence[RejectedLine]) -> None:
        self.taken += outcome.accepted
        for refused in sorted([*outcome.rejected, *unreadable], key=lambda each: each.line):
            self.refused += 1
            self._reasons.update((fault.field, fault.reason) for fault in refused.faults)
            if self.refused <= MAX_LISTED_LINES:
                for fault in refused.faults:
                    click.echo(f"line {refused.line}: {fault.field} {fault.reason}{fault.detail}")

    def print_totals(self, *, verb: str) -> None:
        """The totals, the most frequent reason first."""
        if self.refused > MAX_LISTED_LINES:
            click.echo(f"... and {self.refused - MAX_LISTED_LINES} more lines were refused.")
        click.echo(
            f"{self.taken + self.refused} lines: {self.taken} {verb}, {self.refused} refused."
        )
        for (field, reason), number in self._reasons.most_common():
            click.echo(f"{number:>8}  {field} {reason}")


class ImportProgress:
    """Says on standard error how far it is, about once a second; on a terminal in one line that is written over."""

    def __init__(self, file: IO[bytes], ticks: Callable[[], float]) -> None:
        self._file, self._size = file, _size(file)
        self._ticks = ticks
        self._screen = sys.stderr.isatty()
        self._last = ticks()

    def show(self, report: ImportReport) -> None:
        now = self._ticks()
        if now - self._last < PROGRESS_INTERVAL:
            return
        self._last = now
        share = f" ({100 * self._file.tell() // self._size} %)" if self._size else ""
        said = f"{report.taken + report.refused} lines{share}, {report.refused} refused"
        click.echo(f"\r{said}\x1b[K" if self._screen else said, err=True, nl=not self._screen)

    def end(self) -> None:
        if self._screen:
            click.echo("\r\x1b[K", err=True, nl=False)


def _size(file: IO[bytes]) -> int:
    """The bytes of a file, 0 for a pipe, of which nobody knows."""
    found = os.fstat(file.fileno())
    return found.st_size if stat.S_ISREG(found.st_mode) else 0
