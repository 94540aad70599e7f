"""What a long file has named already, kept on disk so that memory does not grow with the file."""

from __future__ import annotations

import hashlib
import sqlite3

DIGEST_BYTES = 16


class SeenNames:
    """Remembers on which line a name stood first. Only digests are kept, in a file that is gone when this is."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(
            "", isolation_level=None
        )  # the name of a database in a temporary file (sqlite.org/inmemorydb.html)
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute(
            "CREATE TABLE seen (name BLOB PRIMARY KEY, line INTEGER NOT NULL) WITHOUT ROWID"
        )
        self._db.execute("BEGIN")

    def find_line(self, kind: str, name: str) -> int | None:
        """The line that named it, None when none has."""
        row = self._db.execute(
            "SELECT line FROM seen WHERE name = ?", (_digest(kind, name),)
        ).fetchone()
        return int(row[0]) if row else None

    def add(self, kind: str, name: str, line: int) -> None:
        self._db.execute("INSERT INTO seen VALUES (?, ?)", (_digest(kind, name), line))

    def close(self) -> None:
        self._db.close()


def _digest(kind: str, name: str) -> bytes:
    return hashlib.blake2b(f"{kind} {name}".encode(), digest_size=DIGEST_BYTES).digest()
