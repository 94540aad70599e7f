"""SQL statements that depend on the dialect or report what they changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Delete,
    String,
    Update,
    cast,
    delete,
    func,
    inspect,
    select,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.orm import InstrumentedAttribute, Session

if TYPE_CHECKING:
    from app.adapters.database import Base


def count_changed_rows(db: Session, statement: Update | Delete) -> int:
    """Execute an UPDATE or DELETE and return the number of rows that it matched."""
    result = db.execute(statement)
    return result.rowcount if isinstance(result, CursorResult) else 0


def insert_if_absent(db: Session, model: type[Base], **values: Any) -> bool:
    """Insert a row unless it violates a unique constraint. Of concurrent callers, one gets True."""
    dialect = db.get_bind().dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite_dialect.insert
    key = inspect(model).primary_key[0]
    return (
        db.execute(insert(model).values(**values).on_conflict_do_nothing().returning(key)).first()
        is not None
    )


def is_one_of(
    db: Session, column: InstrumentedAttribute[str], wanted: Sequence[str]
) -> ColumnElement[bool]:
    """Build a condition that the column is one of many texts.

    PostgreSQL may keep a plan from when the table was small, which compares an IN list one by one.
    """
    if db.get_bind().dialect.name != "postgresql":
        return column.in_(wanted)
    return column.in_(select(func.unnest(cast(list(wanted), postgresql.ARRAY(String)))))


def insert_all_absent(
    db: Session, model: type[Base], rows: Sequence[Mapping[str, Any]]
) -> set[Any]:
    """Insert the rows that violate no unique constraint. Returns the keys of the inserted rows."""
    dialect = db.get_bind().dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite_dialect.insert
    key = inspect(model).primary_key[0]
    return (
        set(db.scalars(insert(model).on_conflict_do_nothing().returning(key), rows))
        if rows
        else set()
    )


def upsert_all(
    db: Session,
    model: type[Base],
    rows: Sequence[Mapping[str, Any]],
    *,
    update: Mapping[str, Any],
    where: ColumnElement[bool],
) -> Sequence[Any]:
    """Insert rows; update those whose key exists if they fulfill the condition.

    Returns the keys of the written rows. Rows are locked in the given order, so that concurrent
    calls cannot deadlock.
    """
    dialect = db.get_bind().dialect.name
    insert = postgresql.insert if dialect == "postgresql" else sqlite_dialect.insert
    key = inspect(model).primary_key[0]
    statement = (
        insert(model)
        .values(list(rows))
        .on_conflict_do_update(index_elements=[key], set_=dict(update), where=where)
        .returning(key)
    )
    return db.scalars(statement.execution_options(synchronize_session=False)).all()


def delete_batch(
    db: Session, model: type[Base], condition: ColumnElement[bool], max_rows: int
) -> int:
    """Delete up to `max_rows` rows that fulfill the condition.

    Returns the number of deleted rows.
    """
    key = inspect(model).primary_key[0]
    some = select(key).where(condition).limit(max_rows).scalar_subquery()
    return count_changed_rows(
        db, delete(model).where(key.in_(some)).execution_options(synchronize_session=False)
    )
