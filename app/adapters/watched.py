"""Connections to PostgreSQL that no wait on outlasts the deadline."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import event

if TYPE_CHECKING:
    from sqlalchemy import Dialect, Engine

    from app.adapters.deadline import Deadline, Line


class _Connection(psycopg.Connection[Any]):
    """A connection whose waits are watched over, once it has a line."""

    line: Line | None = None
    deadline: Deadline

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Everything that waits for the server does it here: statements, commits, rollbacks."""
        with self.line or nullcontext():
            return super().wait(*args, **kwargs)

    def close(self) -> None:
        super().close()
        if self.line is not None:
            self.deadline.forget(self.line)


def wait_within(deadline: Deadline, engine: Engine) -> None:
    """Make the engine's connections, so that no wait on them outlasts the deadline."""

    @event.listens_for(engine, "do_connect")
    def connect(
        _dialect: Dialect, _record: object, arguments: list[Any], options: dict[str, Any]
    ) -> _Connection:
        if not deadline.may_call():
            raise psycopg.OperationalError("the server has just been found silent")
        try:
            connection = _Connection.connect(*arguments, **options)
        except psycopg.errors.ConnectionTimeout:
            deadline.fell_silent()
            raise
        except psycopg.Error:
            deadline.spoke()
            raise
        deadline.spoke()
        connection.deadline, connection.line = deadline, deadline.line(connection.fileno())
        return connection
