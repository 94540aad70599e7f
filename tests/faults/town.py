"""Three replicas on one PostgreSQL and one Valkey, and a few people who log in again for each test."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import redis

from tests.conftest import LIMITS
from tests.faults.ledger import Ledger
from tests.live import GENEROUS, Launched, Live
from tests.valkey import Valkey

LONG = os.environ.get("FAULTS") == "long"
PEOPLE, LOGINS = (21, 49) if LONG else (2, 30)
REPLICAS = 3


class Town:
    """Made once for many tests: to start processes and to sign people up takes longer than most faults do."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self.folder = folder
        self._open = ExitStack()
        try:
            self._settle(database_url)
        except BaseException:
            self.close()
            raise

    def _settle(self, database_url: str) -> None:
        self.valkey = Valkey()
        self._open.callback(self.valkey.stop)
        self.env = {
            "DOORWARD_DATABASE_URL": database_url,
            "DOORWARD_REDIS_URL": self.valkey.url,
            "DOORWARD_ARGON2_MEMORY_KIB": "64",
            "DOORWARD_ARGON2_TIME_COST": "1",
            "DOORWARD_REPLICAS": str(REPLICAS),
            "DOORWARD_PUBLIC_URL": "http://127.0.0.1:8080",
            **{f"DOORWARD_LIMIT_{name}": GENEROUS for name in LIMITS},
        }
        self.replicas: list[Live] = []
        self._open.callback(Live.stop_all, self.replicas)
        for number in range(REPLICAS):
            self.replicas.append(Launched(self.folder / f"replica-{number}.log", env=self.env))
        for replica in self.replicas:
            replica.await_ready()
        self._people = [f"person{number}" for number in range(PEOPLE)]
        for name in self._people:
            Ledger(self.replicas).sign_up(name)

    def ledger(self, logins: int = LOGINS) -> Ledger:
        """A ledger with fresh sessions of everybody. An account may have 50, so those of tests before end by and by."""
        ledger = Ledger(self.replicas)
        for name in self._people:
            ledger.log_in(name, logins)
        return ledger

    def redis(self, **options: str) -> redis.Redis:
        return redis.Redis.from_url(self.valkey.url, **options)

    def close(self) -> None:
        self._open.close()
