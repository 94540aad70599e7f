"""Record and count the work of a request: SQL statements and Redis commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event

from app.server.cache_watcher import CacheWatcher


@contextmanager
def listen_to_engines(service, listeners: dict[str, Callable[..., None]]) -> Iterator[None]:
    """Attach the listeners to both database engines of the service."""
    engines = (service.units.database.engine, service.units.database.autocommit_engine)
    for engine in engines:
        for name, listener in listeners.items():
            event.listen(engine, name, listener)
    try:
        yield
    finally:
        for engine in engines:
            for name, listener in listeners.items():
                event.remove(engine, name, listener)


@contextmanager
def record_statements(service) -> Iterator[list[str]]:
    """Record the text of every statement, in order, with begins and commits."""
    statements: list[str] = []
    listeners = {
        "before_cursor_execute": lambda _connection, _cursor, text, *_: statements.append(text),
        "begin": lambda _connection: statements.append("BEGIN"),
        "commit": lambda _connection: statements.append("COMMIT"),
        "rollback": lambda _connection: statements.append("ROLLBACK"),
    }
    with listen_to_engines(service, listeners):
        yield statements


def record_request(service, path: str, body: dict[str, Any]) -> list[str]:
    """Return the statements of one request from a new IP address."""
    actor = service.actor("stranger")
    with record_statements(service) as statements:
        answer = actor.post(path, body)
    assert answer.status_code in {201, 202, 400, 401}
    assert statements
    return statements


@contextmanager
def count_work(service, server, *, watch_cache: bool = True) -> Iterator[dict[str, Any]]:
    """Count SQL statements with transactions ("sql"), and Redis commands by name ("commands").

    `watch_cache` runs the cache watcher first, as a serving process does every few seconds.
    """
    if watch_cache:
        CacheWatcher().watch(service.units)
    counts: dict[str, Any] = {"sql": 0}

    def count_statement(*_: Any) -> None:
        counts["sql"] += 1

    before = server.info("commandstats")
    with listen_to_engines(
        service, {"before_cursor_execute": count_statement, "begin": count_statement}
    ):
        yield counts
    after = server.info("commandstats")
    calls = {
        name: stats["calls"] - before.get(name, {"calls": 0})["calls"]
        for name, stats in after.items()
        if name != "cmdstat_info"
    }
    counts["commands"] = {name: number for name, number in calls.items() if number}
