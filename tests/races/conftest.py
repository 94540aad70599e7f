"""One serving process for all races on a database: starting one costs more than any of them."""

from __future__ import annotations

import os
import shutil

import pytest

from app.adapters import database, migrations
from tests.conftest import LIMITS
from tests.live import HIGH_LIMIT, LiveServer
from tests.postgres import create_database

LONG = os.environ.get("FAULTS") == "long"  # more rounds of what one round may miss
CHEAP = {"DOORWARD_ARGON2_MEMORY_KIB": "64", "DOORWARD_ARGON2_TIME_COST": "1"}
UNLIMITED = {f"DOORWARD_LIMIT_{name}": HIGH_LIMIT for name in LIMITS}
WRITERS_WAIT = 20  # seconds
FROM_ANYWHERE = {"DOORWARD_TRUSTED_PROXIES": "127.0.0.1/32"}


@pytest.fixture(autouse=True)
def _time_for_all_writers(monkeypatch):
    """SQLite has one at a time: on a busy machine the last of fifty would be told that there is no time for it."""
    monkeypatch.setattr(database, "SQLITE_BUSY_SECONDS", WRITERS_WAIT)


@pytest.fixture(scope="session")
def racing_postgres_url(postgres_url):
    """Beside the database that other tests empty."""
    with create_database(postgres_url, "races") as url:
        migrations.upgrade(url)
        yield url


@pytest.fixture(scope="session")
def racing_sqlite_url(sqlite_template, tmp_path_factory):
    path = tmp_path_factory.mktemp("races") / "doorward.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def live(request, tmp_path_factory):
    """More threads than racers, and a gate of half as many that lets all of them in."""
    url = request.getfixturevalue(
        "racing_sqlite_url" if request.param == "sqlite" else "racing_postgres_url"
    )
    server = LiveServer(
        tmp_path_factory.mktemp("races") / "live.log",
        "--threads",
        "48",
        env={**UNLIMITED, **CHEAP, **FROM_ANYWHERE, "DOORWARD_DATABASE_URL": url},
        sqlite_waits=WRITERS_WAIT,
    )
    yield server
    server.stop()
