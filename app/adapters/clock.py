"""The clock. Everything else receives `now` as an argument."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

# Larger differences from the database make a replica unready.
MAX_CLOCK_SKEW = timedelta(seconds=5)


class Clock:
    """UTC time, corrected by the offset to the database so that replicas agree."""

    def __init__(self) -> None:
        self._offset = timedelta()

    def now(self) -> datetime:
        """Return the current time as an aware UTC datetime."""
        return datetime.now(UTC) + self._offset

    def get_monotonic_time(self) -> float:
        """Return seconds of a counter that never goes back, to measure durations."""
        return time.monotonic()

    def get_wall_time(self) -> float:
        """Return seconds since the epoch by the clock of this machine, without correction."""
        return time.time()

    def get_skew(self, database_now: datetime) -> timedelta:
        """Return how far the clock of this machine is behind the database's."""
        return database_now - datetime.now(UTC)

    def synchronize(self, database_now: datetime) -> None:
        """Correct `now` to the time of the database."""
        self._offset = self.get_skew(database_now)
