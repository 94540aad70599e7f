"""Connections to PostgreSQL that no wait on outlasts the deadline."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import event

if TYPE_CHECKING:
    from sqlalchemy import Dialect, Engine

    from app.adapters.postgres_watchdog import SocketWatchdog, WatchedSocket


class _Connection(psycopg.Connection[Any]):
    """A connection whose waits are watched over, once it has a line."""

    line: WatchedSocket | None = None
    deadline: SocketWatchdog

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Everything that waits for the server does it here: statements, commits, rollbacks."""
        with self.line or nullcontext():
            return super().wait(*args, **kwargs)

    def close(self) -> None:
        super().close()
        if self.line is not None:
            self.deadline.unwatch(self.line)


def install_watchdog(watchdog: SocketWatchdog, engine: Engine) -> None:
    """Make the engine's connections, so that no wait on them outlasts the deadline."""

    @event.listens_for(engine, "do_connect")
    def connect(
        _dialect: Dialect, _record: object, arguments: list[Any], options: dict[str, Any]
    ) -> _Connection:
        if not watchdog.can_connect():
            raise psycopg.OperationalError("the server has just been found silent")
        try:
            connection = _Connection.connect(*arguments, **options)
        except psycopg.errors.ConnectionTimeout:
            watchdog.record_silence()
            raise
        except psycopg.Error:
            watchdog.record_answer()
            raise
        watchdog.record_answer()
        connection.deadline, connection.line = watchdog, watchdog.watch(connection.fileno())
        return connection
