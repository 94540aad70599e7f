"""Transactions that the database rejects at COMMIT, by a deferred foreign key."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, text


@contextmanager
def fail_commits(service, table: str, *operations: str) -> Iterator[None]:
    """Make each transaction that runs one of the operations on the table fail at its COMMIT."""
    postgres = not service.settings.uses_sqlite
    engine = create_engine(service.settings.database_url)
    function = "CREATE FUNCTION hinder() RETURNS trigger AS $$ BEGIN INSERT INTO hindrance VALUES (1); RETURN NULL; END $$ LANGUAGE plpgsql"
    body = (
        "FOR EACH ROW EXECUTE FUNCTION hinder()"
        if postgres
        else "BEGIN INSERT INTO hindrance VALUES (1); END"
    )
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE anchor (id INTEGER PRIMARY KEY)"))
        connection.execute(
            text(
                "CREATE TABLE hindrance (id INTEGER REFERENCES anchor(id) DEFERRABLE INITIALLY DEFERRED)"
            )
        )
        if postgres:
            connection.execute(text(function))
        for operation in operations:
            connection.execute(
                text(f"CREATE TRIGGER hinder_{operation} AFTER {operation} ON {table} {body}")
            )
    try:
        yield
    finally:
        with engine.begin() as connection:
            for operation in operations:
                connection.execute(
                    text(f"DROP TRIGGER hinder_{operation}" + (f" ON {table}" if postgres else ""))
                )
            if postgres:
                connection.execute(text("DROP FUNCTION hinder"))
            connection.execute(text("DROP TABLE hindrance"))
            connection.execute(text("DROP TABLE anchor"))
        engine.dispose()
