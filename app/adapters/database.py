"""Database engines, sessions, column types and the detection of an unavailable database.

PostgreSQL (psycopg 3) and SQLite behave alike: read-only transactions cannot write, and no wait
lasts longer than a few seconds.
"""

from __future__ import annotations

import select
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    JSON,
    BigInteger,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Integer,
    MetaData,
    TypeDecorator,
    create_engine,
    event,
    text,
)
from sqlalchemy.exc import DBAPIError, DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Session
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from app.adapters.postgres_watchdog import SocketWatchdog, install_watchdog

if TYPE_CHECKING:
    from flask import Flask

    from app.settings import Settings

AUTOCOMMIT_BIND = "checks"
MODE_OPTION = "doorward_mode"
IDLE_SINCE = "idle_since"
MAX_IDLE_SECONDS = 1.0  # that a connection is used without asking the server first
SQLITE_BUSY_SECONDS = 2
# Short timeouts turn a slow database into 503 responses instead of a queue of waiting requests.
POSTGRES_ARGUMENTS = {
    "connect_timeout": 2,
    "application_name": "doorward",
    "options": "-c statement_timeout=2000 -c lock_timeout=1000 "
    "-c idle_in_transaction_session_timeout=10000 -c timezone=UTC",
}
# Errors of the database itself, such as a lost server, a full disk or a timeout: 503, never 4xx.
UNAVAILABLE_ERRORS = (OperationalError, InterfaceError, PoolTimeoutError)

# SQLite generates row numbers only for columns of type INTEGER.
BigId = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime on both databases; SQLite stores it as sortable text."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or value.tzinfo is None:
            if value is not None:
                raise ValueError("datetimes must be aware")
            return None
        return (
            value.astimezone(UTC)
            if dialect.name == "postgresql"
            else value.astimezone(UTC).replace(tzinfo=None)
        )

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """The base class of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON}  # noqa: RUF012 - SQLAlchemy reads it as a plain class attribute


class Database:
    """Two connection pools: one for units of work, a small one for autocommit sessions."""

    def __init__(self, app: Flask, settings: Settings, *, threads: int) -> None:
        self.sqlite = settings.uses_sqlite
        app.config["SQLALCHEMY_DATABASE_URI"] = settings.database_url
        app.config["SQLALCHEMY_ENGINE_OPTIONS"] = _build_engine_options(settings, size=threads)
        app.config["SQLALCHEMY_BINDS"] = {
            AUTOCOMMIT_BIND: {
                "url": settings.database_url,
                "isolation_level": "AUTOCOMMIT",
                **_build_engine_options(settings, size=max(2, threads // 4)),
            }
        }
        glue = SQLAlchemy(app, metadata=Base.metadata)
        with app.app_context():
            self.engine, self.autocommit_engine = glue.engines[None], glue.engines[AUTOCOMMIT_BIND]
        watchdog = SocketWatchdog()
        for engine in (self.engine, self.autocommit_engine):
            if self.sqlite:
                _configure_sqlite(engine)
            else:
                install_watchdog(watchdog, engine)
                _check_idle_connections(engine)
        self.bind_sessions()

    def bind_sessions(self) -> None:
        """Derive the engines of read and write sessions, once because that is expensive."""
        self._reader = self.engine.execution_options(
            **{MODE_OPTION: "reading"}, postgresql_readonly=True
        )
        self._writer = self.engine.execution_options(**{MODE_OPTION: "writing"})

    def open_read_session(self) -> Session:
        """Open a session whose transaction cannot write."""
        return Session(self._reader, expire_on_commit=False)

    def open_write_session(self) -> Session:
        """Open a session whose transaction takes SQLite's write lock with its first query."""
        return Session(self._writer, expire_on_commit=False)

    def open_autocommit_session(self) -> Session:
        """Open a session from the small pool in which each statement commits by itself."""
        return Session(self.autocommit_engine, expire_on_commit=False)


def _build_engine_options(settings: Settings, *, size: int) -> dict[str, Any]:
    options: dict[str, Any] = {
        "pool_size": size,
        "max_overflow": 0,
        "pool_timeout": 2,
        "hide_parameters": True,
        "echo": settings.sql_echo,
    }
    if settings.uses_sqlite:
        return {
            **options,
            "connect_args": {"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False},
        }
    return {**options, "pool_recycle": 1800, "connect_args": POSTGRES_ARGUMENTS}


def _check_idle_connections(engine: Engine) -> None:
    """Replace connections that the server has closed.

    SQLAlchemy's `pool_pre_ping` asks the server before every transaction, at the cost of a query.
    Here it is asked after a second without use, and if it has sent something: a server that ends
    says so.
    """

    @event.listens_for(engine, "checkin")
    def remember(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info[IDLE_SINCE] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def check(connection: Any, record: ConnectionPoolEntry, _fairy: object) -> None:
        idle = time.monotonic() - record.info.get(IDLE_SINCE, time.monotonic())
        if idle > MAX_IDLE_SECONDS or _is_readable(connection.fileno()):
            try:
                engine.dialect.do_ping(connection)
            except engine.dialect.loaded_dbapi.Error as error:
                raise DisconnectionError from error


def _is_readable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _configure_sqlite(engine: Engine) -> None:
    """Begin transactions explicitly: pysqlite would upgrade readers, which fails under load."""

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "checkin")
    def end(connection: sqlite3.Connection | None, _record: object) -> None:
        # A COMMIT that SQLite rejects leaves the transaction open, but SQLAlchemy considers it
        # closed. Its lock would block all writers.
        if connection is not None and connection.in_transaction:
            connection.rollback()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        mode = connection.get_execution_options().get(MODE_OPTION)
        if mode == "writing":
            connection.exec_driver_sql("PRAGMA query_only=OFF")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        elif mode == "reading":
            connection.exec_driver_sql("PRAGMA query_only=ON")
            connection.exec_driver_sql("BEGIN")


def get_database_now(session: Session) -> datetime:
    """Return the time of the database; on SQLite, that of this machine."""
    dialect = session.get_bind().dialect.name
    if dialect == "postgresql":
        moment: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
        return moment.astimezone(UTC)
    return datetime.fromisoformat(
        session.execute(text("SELECT strftime('%Y-%m-%dT%H:%M:%f', 'now')")).scalar_one()
    ).replace(tzinfo=UTC)


def is_database_unavailable(error: BaseException) -> bool:
    """Return whether the database failed, as opposed to rejecting a statement."""
    return isinstance(error, UNAVAILABLE_ERRORS) or (
        isinstance(error, DBAPIError) and error.connection_invalidated
    )


@contextmanager
def open_migration_connection(url: str) -> Iterator[Connection]:
    """Open a connection without timeouts, in one transaction that only one process can hold."""
    sqlite = url.startswith("sqlite")
    engine = create_engine(
        url, poolclass=NullPool, connect_args={"timeout": 60} if sqlite else {"connect_timeout": 5}
    )
    if sqlite:
        _configure_sqlite(engine)
    with engine.execution_options(**{MODE_OPTION: "writing"}).begin() as connection:
        if not sqlite:
            connection.execute(
                text("SELECT pg_advisory_xact_lock(hashtext('doorward migrations'))")
            )
        yield connection
    engine.dispose()
