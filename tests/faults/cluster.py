"""Three replicas on one PostgreSQL and one Valkey, with users who log in again for each test."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import redis

from tests.faults.history import History
from tests.live import WITHOUT_LIMITS, LiveServer, StartingServer
from tests.slow import LONG
from tests.valkey import Valkey

USERS, LOGINS = (21, 49) if LONG else (2, 30)
REPLICAS = 3


class Cluster:
    """Three replicas that many tests share, because starting them takes longer than most faults."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self.folder = folder
        self._open = ExitStack()
        try:
            self._start_servers(database_url)
        except BaseException:
            self.close()
            raise

    def _start_servers(self, database_url: str) -> None:
        self.valkey = Valkey()
        self._open.callback(self.valkey.stop)
        self.env = {
            "DOORWARD_DATABASE_URL": database_url,
            "DOORWARD_REDIS_URL": self.valkey.url,
            "DOORWARD_ARGON2_MEMORY_KIB": "64",
            "DOORWARD_ARGON2_TIME_COST": "1",
            "DOORWARD_REPLICAS": str(REPLICAS),
            "DOORWARD_PUBLIC_URL": "http://127.0.0.1:8080",
            **WITHOUT_LIMITS,
        }
        self.replicas: list[LiveServer] = []
        self._open.callback(LiveServer.stop_all, self.replicas)
        for number in range(REPLICAS):
            self.replicas.append(
                StartingServer(self.folder / f"replica-{number}.log", env=self.env)
            )
        for replica in self.replicas:
            replica.await_ready()
        self._people = [f"person{number}" for number in range(USERS)]
        for name in self._people:
            History(self.replicas).sign_up(name)

    def create_ledger(self, logins: int = LOGINS) -> History:
        """Return a ledger with new sessions of all users.

        An account has at most 50, so older ones are revoked.
        """
        ledger = History(self.replicas)
        for name in self._people:
            ledger.log_in(name, logins)
        return ledger

    def redis(self, **options: str) -> redis.Redis:
        return redis.Redis.from_url(self.valkey.url, **options)

    def close(self) -> None:
        self._open.close()
