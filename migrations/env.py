"""Alembic environment: the tables of every package, on the connection that `db upgrade` opened."""

from __future__ import annotations

from alembic import context

from app import factory
from app.adapters.database import Base

assert factory  # importing the factory registers every table

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=False,
)
context.run_migrations()
