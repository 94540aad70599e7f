"""One server process per database for all races, because a start takes longer than a race."""

from __future__ import annotations

import shutil

import pytest

from app.adapters import database, migrations
from tests.live import CHEAP_HASH, WITHOUT_LIMITS, LiveServer
from tests.postgres import create_database
from tests.races.requests import register_account

SQLITE_BUSY_SECONDS = 20
TRUST_LOOPBACK = {"DOORWARD_TRUSTED_PROXIES": "127.0.0.1/32"}


@pytest.fixture(autouse=True)
def _wait_longer_for_sqlite(monkeypatch):
    """Let fifty writers wait for SQLite, which has one writer at a time, on a busy machine."""
    monkeypatch.setattr(database, "SQLITE_BUSY_SECONDS", SQLITE_BUSY_SECONDS)


@pytest.fixture(scope="session")
def racing_postgres_url(postgres_url):
    """A database that other tests do not empty."""
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
    """A server with 48 threads. Half as many hashes can wait, so no login is rejected."""
    url = request.getfixturevalue(
        f"racing_{'sqlite' if request.param == 'sqlite' else 'postgres'}_url"
    )
    server = LiveServer(
        tmp_path_factory.mktemp("races") / "live.log",
        "--threads",
        "48",
        env={**WITHOUT_LIMITS, **CHEAP_HASH, **TRUST_LOOPBACK, "DOORWARD_DATABASE_URL": url},
        sqlite_waits=SQLITE_BUSY_SECONDS,
    )
    yield server
    server.stop()


@pytest.fixture
def name(live) -> str:
    """The username of a new account."""
    return register_account(live)
