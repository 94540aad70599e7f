"""Fixtures: real databases that are empty at the start of each test, and the service on them."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
import redis
from hypothesis import HealthCheck, settings
from sqlalchemy import create_engine, text

from app.adapters import database, logs, migrations
from tests.actors import Service, build_settings
from tests.live import CHEAP_HASH, WITHOUT_LIMITS, LiveServer, fork_server
from tests.output import CurrentStdout
from tests.postgres import Postgres, delete_all_rows
from tests.slow import LONG
from tests.valkey import Valkey

# `make test` runs the same examples every time. `make slow` looks for new ones.
OPTIONS = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("fixed", derandomize=True, **OPTIONS)
settings.register_profile("long", **OPTIONS)
settings.load_profile("long" if LONG else "fixed")

MAX_POOLED_SERVICES = 8
# Tests that need servers, browsers or clients of others, or that run for long. `make slow` runs them.
SLOW_PATHS = (
    "tests/gateways/",
    "tests/clients/",
    "tests/pages/test_browser.py",
    "tests/pages/test_frontend_in_a_browser.py",
    "tests/api/test_planted_secrets.py",
    "tests/api/test_state_machine.py",
    "tests/client/test_package.py",
    "tests/conventions/test_bench.py",
    "tests/conventions/test_container.py::test_image_steps_build",
    "tests/conventions/test_python_versions.py",
    "tests/faults/test_frozen_postgres.py",
    "tests/faults/test_postgres_faults.py",
    "tests/faults/test_redis_faults.py",
    "tests/faults/test_rotation.py",
    "tests/server/test_frozen_worker.py",
)
# Rules, conventions and the core of the service on SQLite. `make fast` runs them.
FAST_PATHS = (
    "tests/rules/",
    "tests/texts/",
    "tests/conventions/test_language.py",
    "tests/conventions/test_requirements.py",
    "tests/conventions/test_rules.py",
    "tests/conventions/test_schema.py",
    "tests/conventions/test_security_page.py",
    "tests/conventions/test_settings.py",
    "tests/api/test_login.py",
    "tests/api/test_refresh.py",
    "tests/api/test_sessions.py",
)
SERVER_FIXTURES = {"empty_postgres_url", "postgres_url", "redis_url", "valkey_server", "make_live"}


def pytest_collection_modifyitems(items):
    for item in items:
        if item.nodeid.startswith(SLOW_PATHS):
            item.add_marker("slow")
        elif item.nodeid.startswith(FAST_PATHS) and not _needs_server(item):
            item.add_marker("fast")


def _needs_server(item) -> bool:
    parameters = getattr(item, "callspec", None)
    return bool(SERVER_FIXTURES.intersection(item.fixturenames)) or (
        parameters is not None and "postgresql" in parameters.params.values()
    )


@pytest.fixture(scope="session", autouse=True)
def _restore_interrupts():
    """Restore SIGINT, which a shell ignores for processes that it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def _stop_fork_server():
    yield
    if fork_server.cache_info().currsize:
        fork_server().close()


@pytest.fixture(scope="session", autouse=True)
def _logging():
    logs.configure_logging(CurrentStdout())


@pytest.fixture(autouse=True)
def _reset_logging():
    """Undo the logging configuration of commands that ran in this process."""
    logs.configure_logging(CurrentStdout())


@pytest.fixture(scope="session")
def postgres_url(worker_id: str):
    """A migrated PostgreSQL database, one per test process."""
    external_url, name = os.environ.get("TEST_DATABASE_URL"), f"doorward_test_{worker_id}"
    server = None if external_url else Postgres()
    base = external_url or server.url()
    engine = create_engine(base, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = base.rpartition("/")[0] + f"/{name}"
    migrations.upgrade(url)
    yield url
    if server:
        engine.dispose()
        server.stop()
    else:
        with engine.connect() as connection:
            connection.execute(text(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
        engine.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrations.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path) -> str:
    """A migrated, empty SQLite database. The path is the same for every test of a process."""
    path = sqlite_template.with_name("doorward.db")
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def empty_postgres_url(postgres_url: str) -> str:
    delete_all_rows(postgres_url)
    return postgres_url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request) -> str:
    """A migrated, empty database: SQLite first, then PostgreSQL."""
    return request.getfixturevalue(
        "sqlite_url" if request.param == "sqlite" else "empty_postgres_url"
    )


@pytest.fixture(scope="session")
def service_pool():
    """Services of earlier tests, because building one costs more than most tests do."""
    return []


@pytest.fixture
def make_service(request, service_pool):
    """Build the service with the given settings, on SQLite by default.

    A service with the same settings is reused after a reset.
    """
    in_use: list[tuple[object, Service]] = []

    def make(database_url: str | None = None, *, capacity=None, **changes) -> Service:
        url = database_url or request.getfixturevalue("sqlite_url")
        settings = build_settings(url, **changes)
        key = (settings, capacity, database.SQLITE_BUSY_SECONDS)
        entry = next((entry for entry in service_pool if entry[0] == key), None)
        if entry:
            service_pool.remove(entry)
            entry[1].reset()
        else:
            entry = (key, Service(settings, capacity=capacity))
        in_use.append(entry)
        return entry[1]

    yield make
    for _, service in in_use:
        service.close()
    service_pool[:0] = in_use
    del service_pool[MAX_POOLED_SERVICES:]


@pytest.fixture
def service(make_service, database_url) -> Service:
    """The service on SQLite, then on PostgreSQL."""
    return make_service(database_url)


@pytest.fixture
def sqlite_service(make_service) -> Service:
    """The service on SQLite, for behavior that does not depend on the database."""
    return make_service()


@pytest.fixture
def ann(service):
    """A user who is not registered."""
    return service.actor("ann")


@pytest.fixture
def make_live(request, tmp_path):
    """Start a serving process, on SQLite by default."""
    made = []

    def make(*options: str, database_url: str | None = None, **env: str) -> LiveServer:
        url = database_url or request.getfixturevalue("sqlite_url")
        settings = {**WITHOUT_LIMITS, **CHEAP_HASH, "DOORWARD_DATABASE_URL": url, **env}
        made.append(LiveServer(tmp_path / f"live-{len(made)}.log", *options, env=settings))
        return made[-1]

    yield make
    for live in made:
        live.stop()


@pytest.fixture(scope="session")
def valkey_server():
    server = Valkey()
    yield server
    server.stop()


@pytest.fixture
def redis_url(valkey_server: Valkey) -> str:
    """An empty Redis-compatible server, one per test process."""
    url = os.environ.get("TEST_REDIS_URL", valkey_server.url)
    client = redis.Redis.from_url(url)
    client.flushdb()
    client.close()
    return url
