"""Migrations create the schema of the models, also repeatedly and concurrently."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from click.testing import CliRunner
from sqlalchemy import create_engine, inspect, text

from app.adapters import migrations
from app.adapters.database import Base
from app.cli import cli
from app.factory import create_app
from tests.actors import SECRET
from tests.live import clean_environment, start_process
from tests.postgres import create_database

UPGRADERS = 4


@pytest.fixture(params=["sqlite", "postgresql"])
def blank_url(request, tmp_path):
    """Return a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/blank.db"
        return
    with create_database(request.getfixturevalue("postgres_url"), "blank") as url:
        yield url


@pytest.fixture
def connection(database_url):
    engine = create_engine(database_url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def run_command(url: str, *words: str):
    """Run `python -m app` with these arguments."""
    return CliRunner().invoke(
        cli,
        words,
        obj=create_app,
        env={"DOORWARD_SECRET_KEY": SECRET, "DOORWARD_DATABASE_URL": url},
    )


def test_migrations_match_the_models(connection):
    context = MigrationContext.configure(
        connection, opts={"compare_type": True, "compare_server_default": True}
    )
    assert compare_metadata(context, Base.metadata) == []


def test_constraint_names_match_the_models(connection):
    found = inspect(connection)
    for name, table in Base.metadata.tables.items():
        assert found.get_pk_constraint(name)["name"] == table.primary_key.name
        uniques = {constraint["name"] for constraint in found.get_unique_constraints(name)}
        assert uniques == {
            constraint.name
            for constraint in table.constraints
            if constraint.__visit_name__ == "unique_constraint"
        }
        assert {key["name"] for key in found.get_foreign_keys(name)} == {
            key.name for key in table.foreign_key_constraints
        }
        assert {key["options"].get("ondelete") for key in found.get_foreign_keys(name)} == {
            key.ondelete for key in table.foreign_key_constraints
        }


def test_upgrade_can_be_repeated(blank_url):
    first, second, check = (
        run_command(blank_url, "db", "upgrade"),
        run_command(blank_url, "db", "upgrade"),
        run_command(blank_url, "db", "check"),
    )
    assert [result.exit_code for result in (first, second, check)] == [0, 0, 0]
    assert (
        first.output
        == f"Upgraded the schema from nothing to {migrations.get_required_revision()}.\n"
    )
    assert second.output == f"The schema is at {migrations.get_required_revision()}.\n"
    assert (
        check.output
        == f"The schema is at {migrations.get_required_revision()}, as this version requires.\n"
    )


def test_check_of_an_empty_database_names_the_command(blank_url):
    result = run_command(blank_url, "db", "check")
    assert result.exit_code == 3
    assert (
        f"this version requires {migrations.get_required_revision()}. Run `python -m app db upgrade`."
        in result.output
    )


@pytest.mark.parametrize("word", ["upgrade", "check"])
def test_missing_database_is_reported_in_one_line(word):
    result = run_command("postgresql://door:hunter2@127.0.0.1:1/door", "db", word)
    assert result.exit_code in {1, 3}
    assert "does not answer" in result.output
    assert "hunter2" not in result.output


def test_four_processes_can_upgrade_at_once(postgres_url, tmp_path):
    with create_database(postgres_url, "upgrades") as url:
        env = {**clean_environment(), "DOORWARD_SECRET_KEY": SECRET, "DOORWARD_DATABASE_URL": url}
        started = []
        for number in range(UPGRADERS):
            with (tmp_path / f"{number}.log").open("wb") as log:
                started.append(start_process("db", "upgrade", env=env, log=log))
        codes = [process.wait(60) for process in started]
        outputs = [(tmp_path / f"{number}.log").read_text() for number in range(UPGRADERS)]
        assert codes == [0] * UPGRADERS, outputs
        assert sorted("Upgraded the schema from nothing" in text for text in outputs) == [False] * (
            UPGRADERS - 1
        ) + [True]
        engine = create_engine(url)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM issuer_state")).scalar() == 1
            assert connection.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1
        engine.dispose()


def test_failed_migration_is_rolled_back(blank_url):
    engine = create_engine(blank_url)
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE sessions (id INTEGER)")
        )  # created last by the migration
    assert run_command(blank_url, "db", "upgrade").exit_code == 1
    with engine.connect() as connection:
        left = [name for name in inspect(connection).get_table_names() if name != "sessions"]
    engine.dispose()
    assert left == []
