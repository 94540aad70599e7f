"""Output of tests."""

from __future__ import annotations

import io
import sys


class CurrentStdout(io.TextIOBase):
    """The standard output of the moment, because pytest replaces it for tests that capture it."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()
