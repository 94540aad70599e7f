"""Fixtures: real databases, each test on an empty one, and the service on top."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
from pathlib import Path

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule

from app.adapters import logs, migrations
from tests.actors import Service, build_settings
from tests.live import HIGH_LIMIT, LiveServer, fork_server
from tests.postgres import Postgres
from tests.valkey import Valkey

# The same examples each time, however long one takes: what another one finds is for `make faults`, and not for somebody else's change.
ALIKE = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("alike", derandomize=True, **ALIKE)
settings.register_profile("long", **ALIKE)
settings.load_profile("long" if os.environ.get("FAULTS") == "long" else "alike")

LIMITS = (
    "LOGIN",
    "REGISTER",
    "RESEND",
    "CONFIRM",
    "CODE",
    "REFRESH",
    "FORGOT",
    "KEY",
    "DEVICE",
    "POLL",
)


class CurrentStdout(io.TextIOBase):
    """Standard output as it is when something is written: pytest puts another one there for tests that look at it."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@pytest.fixture(scope="session", autouse=True)
def _interrupts_arrive():
    """Whoever starts the tests in the background has interrupts ignored, and every process that they start inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def _nursery_ends():
    yield
    if fork_server.cache_info().currsize:
        fork_server().close()


@pytest.fixture(scope="session", autouse=True)
def _logging():
    logs.configure_logging(CurrentStdout())


@pytest.fixture(autouse=True)
def _logging_anew():
    """A command that another test typed in this process has sent what is logged somewhere else."""
    logs.configure_logging(CurrentStdout())


@pytest.fixture(scope="session", autouse=True)
def _routes_compiled_once():
    """Most of what making a service costs is werkzeug's compiling a function for each rule, and that is the same each time.

    The function is bound to its rule and its map afterwards, so that services do not share anything by this.
    """
    compiled, really = {}, Rule._compile_builder

    def compile_once(rule: Rule, append_unknown: bool = True):
        key = (
            rule.rule,
            rule.host,
            rule.subdomain,
            str(rule.defaults),
            tuple(rule._trace),
            append_unknown,
        )
        if key not in compiled:
            compiled[key] = really(rule, append_unknown)
        return compiled[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", compile_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def _statements_compiled_once():
    """SQLAlchemy keeps what it compiled by engine. Each test has engines of its own, and compiling the same again is most of what it costs.

    A serving process keeps one engine, too; and dialects of one kind compile alike, as all of them speak to the same server.
    """
    kept = LRUCache(2000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Engine,
            "_compiled_cache",
            property(lambda engine: kept, lambda engine, own: None),
            raising=False,
        )
        patch.setattr(DefaultDialect, "__hash__", lambda dialect: hash(type(dialect)))
        patch.setattr(DefaultDialect, "__eq__", lambda dialect, other: type(dialect) is type(other))
        yield


@pytest.fixture(scope="session")
def postgres_url(worker_id: str):
    """A migrated database on PostgreSQL, one for each test process."""
    given, name = os.environ.get("TEST_DATABASE_URL"), f"doorward_test_{worker_id}"
    server = None if given else Postgres()
    base = given or server.url()
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
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "doorward.db"
    shutil.copy(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture
def empty_postgres_url(postgres_url: str) -> str:
    delete_all_rows(postgres_url)
    return postgres_url


# TRUNCATE makes new files for every table and index, which costs seventy times as much as deleting the few rows of a test.
DELETE_ALL_ROWS = """
DO $$ BEGIN
    EXECUTE (
        SELECT 'WITH ' || string_agg(format('%1$I AS (DELETE FROM public.%1$I)', tablename), ', ') || ' SELECT'
        FROM pg_tables WHERE schemaname = 'public' AND tablename NOT IN ('alembic_version', 'issuer_state')
    );
    PERFORM setval(format('%I', sequencename)::regclass, 1, false) FROM pg_sequences WHERE schemaname = 'public';
    UPDATE issuer_state SET global_epoch = 1;
END $$
"""


def delete_all_rows(url: str) -> None:
    """Forget every row but those that a migration wrote."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(DELETE_ALL_ROWS)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request) -> str:
    """An empty, migrated database of either kind."""
    return request.getfixturevalue(
        "sqlite_url" if request.param == "sqlite" else "empty_postgres_url"
    )


@pytest.fixture
def make_service(request):
    """The service with settings of the test's own; on SQLite unless told otherwise."""
    made = []

    def make(database_url: str | None = None, *, capacity=None, **changes) -> Service:
        url = database_url or request.getfixturevalue("sqlite_url")
        made.append(Service(build_settings(url, **changes), capacity=capacity))
        return made[-1]

    yield make
    for service in made:
        service.close()


@pytest.fixture
def service(make_service, database_url) -> Service:
    """The service on both databases, one after the other."""
    return make_service(database_url)


@pytest.fixture
def sqlite_service(make_service) -> Service:
    """The service on SQLite alone, for what does not depend on the database."""
    return make_service()


@pytest.fixture
def ann(service):
    """A newcomer."""
    return service.actor("ann")


@pytest.fixture
def make_live(request, tmp_path):
    """A serving process; on SQLite unless told otherwise."""
    made = []

    def make(*options: str, database_url: str | None = None, **env: str) -> LiveServer:
        url = database_url or request.getfixturevalue("sqlite_url")
        limits = {f"DOORWARD_LIMIT_{name}": HIGH_LIMIT for name in LIMITS}
        cheap = {
            "DOORWARD_ARGON2_MEMORY_KIB": "64",
            "DOORWARD_ARGON2_TIME_COST": "1",
            "DOORWARD_DATABASE_URL": url,
        }
        made.append(
            LiveServer(tmp_path / f"live-{len(made)}.log", *options, env={**limits, **cheap, **env})
        )
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
    """An empty Redis-compatible server, one for each test process."""
    url = os.environ.get("TEST_REDIS_URL", valkey_server.url)
    client = redis.Redis.from_url(url)
    client.flushdb()
    client.close()
    return url
