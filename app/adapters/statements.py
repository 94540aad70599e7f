"""SQL statements that are prepared once, depend on the dialect or report what they changed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    CursorResult,
    Delete,
    Executable,
    String,
    Update,
    bindparam,
    cast,
    column,
    delete,
    func,
    inspect,
    select,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.selectable import ReturnsRows

if TYPE_CHECKING:
    from app.adapters.database import Base


class PreparedStatement:
    """A statement that is built once for each dialect and kept as text.

    Building an expression and finding its compiled form costs several times what executing it does.
    `build` receives the name of the dialect; the values of an execution are bind parameters.
    """

    def __init__(self, build: Callable[[str], ReturnsRows]) -> None:
        self._build = build
        self._prepared: dict[str, Executable] = {}

    def execute(self, db: Session, parameters: Mapping[str, Any]) -> CursorResult[Any]:
        """Execute the statement in the transaction of the session."""
        if db.new or db.dirty:
            db.flush()
        connection = db.connection()
        name = connection.dialect.name
        if name not in self._prepared:
            self._prepared[name] = _to_text(self._build(name), name)
        return connection.execute(self._prepared[name], dict(parameters))


def _to_text(statement: ReturnsRows, dialect: str) -> Executable:
    """Return the statement as text with named and typed parameters and columns."""
    # Without a driver and casts, because the text gets its casts when it is executed.
    kind = PGDialect if dialect == "postgresql" else SQLiteDialect
    compiled: Any = statement.compile(dialect=kind(paramstyle="named"))
    prepared = text(re.sub(r"(:\w+)::JSON\b", r"\1", str(compiled))).bindparams(
        *(
            bindparam(name, bind.value, type_=bind.type)
            if not bind.required
            else bindparam(name, type_=bind.type)
            for bind, name in compiled.bind_names.items()
        )
    )
    returned = [column(each.name, each.type) for each in statement.exported_columns]
    return prepared.columns(*returned) if returned else prepared


def build_insert(dialect: str, model: type[Base]) -> postgresql.Insert | sqlite_dialect.Insert:
    """Return an INSERT of the dialect, which can have an ON CONFLICT clause."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite_dialect.insert
    return insert(model)


def prepare_insert(model: type[Base]) -> PreparedStatement:
    """Prepare an INSERT of one row, without a generated key."""
    return PreparedStatement(
        lambda dialect: build_insert(dialect, model).values(
            {name: bindparam(name) for name in _list_inserted(model).values()}
        )
    )


def insert_row(db: Session, statement: PreparedStatement, row: Base) -> None:
    """Insert a new object without adding it to the session: later changes are not written."""
    names = _list_inserted(type(row))
    statement.execute(db, {column: getattr(row, name) for name, column in names.items()})


@cache
def _list_inserted(model: type[Base]) -> dict[str, str]:
    """Return the column of each attribute, without a generated key."""
    return {
        attribute.key: attribute.columns[0].name
        for attribute in inspect(model).column_attrs
        if not (attribute.columns[0].primary_key and attribute.columns[0].autoincrement is True)
    }


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
    db: Session, attribute: InstrumentedAttribute[str], wanted: Sequence[str]
) -> ColumnElement[bool]:
    """Build a condition that the column is one of many texts.

    PostgreSQL may keep a plan from when the table was small, which compares an IN list one by one.
    """
    if db.get_bind().dialect.name != "postgresql":
        return attribute.in_(wanted)
    return attribute.in_(select(func.unnest(cast(list(wanted), postgresql.ARRAY(String)))))


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
