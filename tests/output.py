"""The output of tests."""

from __future__ import annotations

import io
import sys


class CurrentStdout(io.TextIOBase):
    """The current standard output, because pytest replaces it for tests that capture it."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()
