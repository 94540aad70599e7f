"""Bundled lists of common passwords and passphrase words. lists/NOTICE.md names the sources."""

from __future__ import annotations

import gzip
from bisect import bisect_left
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTS = files("app.authentication.passwords") / "lists"


class SortedLines:
    """A set of texts in the bytes of its file, a tenth of the memory of a Python set."""

    def __init__(self, lines: bytes) -> None:
        """Take lines in byte order, each with its line feed."""
        self._lines = lines

    def __contains__(self, text: object) -> bool:
        wanted = str(text).encode("utf-8", "surrogatepass")
        return (
            self._line_at(bisect_left(range(len(self._lines)), wanted, key=self._line_at)) == wanted
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines.decode().splitlines())

    def __len__(self) -> int:
        return self._lines.count(b"\n")

    def _line_at(self, position: int) -> bytes:
        """Return the line that contains this byte, or nothing after the end."""
        return self._lines[
            self._lines.rfind(b"\n", 0, position) + 1 : self._lines.find(b"\n", position)
        ]


@cache
def load_common_passwords() -> SortedLines:
    """Return common passwords without case, and words that become one with digits around them."""
    return SortedLines(gzip.decompress((LISTS / "common-passwords.txt.gz").read_bytes()))


@cache
def load_passphrase_words() -> tuple[str, ...]:
    """Return 7776 different words. Each adds 12.9 bits to a passphrase."""
    return tuple((LISTS / "passphrase-words.txt").read_text(encoding="ascii").split())
