"""Times of last use, buffered in memory and written to the database by a background job."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

MAX_ENTRIES = 100_000


class UsageBuffer:
    """The latest time of each key. Entries not drained before the process ends are lost."""

    def __init__(self) -> None:
        self._moments: dict[str, datetime] = {}
        self._lock = threading.Lock()

    def record(self, name: str, moment: datetime) -> None:
        with self._lock:
            known = self._moments.get(name)
            if (known is None and len(self._moments) < MAX_ENTRIES) or (
                known is not None and known < moment
            ):
                self._moments[name] = moment

    def drain(self) -> dict[str, datetime]:
        """Remove and return all entries."""
        with self._lock:
            taken, self._moments = self._moments, {}
        return taken
