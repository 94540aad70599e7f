"""The lists that come along: common passwords, and words for passphrases. lists/NOTICE.md says
where they are from.
"""

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
    """A set of texts kept as the file they came in: a megabyte where Python's own set would take
    ten.
    """

    def __init__(self, lines: bytes) -> None:
        """Lines in the order of their bytes, each with its line feed."""
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
        """The line that the byte there belongs to; nothing behind the end."""
        return self._lines[
            self._lines.rfind(b"\n", 0, position) + 1 : self._lines.find(b"\n", position)
        ]


@cache
def common_passwords() -> SortedLines:
    """What is tried first, in folded spelling: passwords of 8 characters and more, and words that
    become one with digits around them.
    """
    return SortedLines(gzip.decompress((LISTS / "common-passwords.txt.gz").read_bytes()))


@cache
def passphrase_words() -> tuple[str, ...]:
    """7776 words, all different: each adds 12.9 bits to a passphrase."""
    return tuple((LISTS / "passphrase-words.txt").read_text(encoding="ascii").split())
