"""The one clock. Everything else is handed `now`."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

# Larger differences from the database make a replica unready.
MAX_CLOCK_SKEW = timedelta(seconds=5)


class Clock:
    """UTC now, corrected by the measured offset to the database, so that replicas with drifting clocks agree."""

    def __init__(self) -> None:
        self._offset = timedelta()

    def now(self) -> datetime:
        """Aware UTC."""
        return datetime.now(UTC) + self._offset

    def get_monotonic_time(self) -> float:
        """Seconds of a counter that never goes back, for measuring how long something took."""
        return time.monotonic()

    def get_wall_time(self) -> float:
        """Seconds since the epoch by this machine alone, for the libraries that count by it."""
        return time.time()

    def get_skew(self, database_now: datetime) -> timedelta:
        """How far the machine's own clock is from the database's."""
        return database_now - datetime.now(UTC)

    def synchronize(self, database_now: datetime) -> None:
        """Take the database's time from here on."""
        self._offset = self.get_skew(database_now)
