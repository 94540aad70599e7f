"""Output of `accounts import`: rejected lines, progress and totals."""

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
PROGRESS_INTERVAL = 1.0  # seconds


class ImportReport:
    """Counts of an import. Prints the first thousand rejected lines as they occur."""

    def __init__(self) -> None:
        self.accepted = self.rejected = 0
        self._reasons: Counter[tuple[str, str]] = Counter()

    def add(self, result: ImportResult, unreadable: Sequence[RejectedLine]) -> None:
        self.accepted += result.accepted
        for rejected in sorted([*result.rejected, *unreadable], key=lambda line: line.line):
            self.rejected += 1
            self._reasons.update((fault.field, fault.reason) for fault in rejected.faults)
            if self.rejected <= MAX_LISTED_LINES:
                for fault in rejected.faults:
                    click.echo(f"line {rejected.line}: {fault.field} {fault.reason}{fault.detail}")

    def print_totals(self, *, verb: str) -> None:
        """Print the totals, then each reason, the most frequent first."""
        if self.rejected > MAX_LISTED_LINES:
            click.echo(f"... and {self.rejected - MAX_LISTED_LINES} more lines were rejected.")
        click.echo(
            f"{self.accepted + self.rejected} lines: {self.accepted} {verb}, "
            f"{self.rejected} rejected."
        )
        for (field, reason), number in self._reasons.most_common():
            click.echo(f"{number:>8}  {field} {reason}")


class ImportProgress:
    """Progress on standard error, about once per second. A terminal shows it on a single line."""

    def __init__(self, file: IO[bytes], get_time: Callable[[], float]) -> None:
        self._file, self._size = file, _get_size(file)
        self._get_time = get_time
        self._is_terminal = sys.stderr.isatty()
        self._last_shown = get_time()

    def show(self, report: ImportReport) -> None:
        now = self._get_time()
        if now - self._last_shown < PROGRESS_INTERVAL:
            return
        self._last_shown = now
        share = f" ({100 * self._file.tell() // self._size} %)" if self._size else ""
        text = f"{report.accepted + report.rejected} lines{share}, {report.rejected} rejected"
        click.echo(
            f"\r{text}\x1b[K" if self._is_terminal else text, err=True, nl=not self._is_terminal
        )

    def end(self) -> None:
        if self._is_terminal:
            click.echo("\r\x1b[K", err=True, nl=False)


def _get_size(file: IO[bytes]) -> int:
    """Return the size of a file in bytes, or 0 for a pipe."""
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
