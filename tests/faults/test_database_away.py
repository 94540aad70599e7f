"""A database outage is 503 with Retry-After, consumes nothing, and everything works afterwards."""

from __future__ import annotations

import sqlite3
import time

import pytest
from sqlalchemy import create_engine, text

from app.adapters import migrations
from tests.postgres import Postgres


@pytest.fixture(scope="module")
def server():
    """Start a separate server that tests kill."""
    postgres = Postgres()
    migrations.upgrade(postgres.url())
    yield postgres
    postgres.stop()


@pytest.fixture
def outage(server):
    """Kill the server; it is started again at the latest after the test."""

    class Away:
        gone = False

        def stop(self) -> None:
            server.kill()
            self.gone = True

        def restart(self) -> None:
            if self.gone:
                server.start()
                self.gone = False

    away = Away()
    yield away
    away.restart()


@pytest.fixture
def service(make_service, server):
    return make_service(server.url())


def assert_unavailable(answer) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.content_type == "application/problem+json"
    assert answer.json["code"] == "unavailable"
    assert int(answer.headers["Retry-After"]) >= 1


def test_database_outage_is_503_and_recovers(service, outage):
    ann = service.actor("ann").sign_in()
    bob = service.actor("bob")
    bob.register()
    confirmation = {"registration": bob.registration, "code": bob.mail()["code"]}
    refresh_token = ann.tokens["refresh_token"]
    outage.stop()
    began = time.monotonic()
    assert_unavailable(ann.whoami())
    assert_unavailable(ann.get("/v1/me", token=ann.access))
    assert_unavailable(ann.login())
    assert_unavailable(ann.refresh())
    assert_unavailable(ann.logout())
    assert_unavailable(bob.post("/v1/register/confirm", confirmation))
    assert_unavailable(service.actor("eve").register())
    assert_unavailable(
        service.actor("eve").post("/v1/register/resend", {"email": "ann@example.org"})
    )
    assert time.monotonic() - began < 12  # eight waits for a timeout would take sixteen
    assert ann.get("/livez").status_code == 200
    ready = ann.get("/readyz")
    assert (ready.status_code, ready.json["checks"]["database"]) == (503, "failed")
    assert "Retry-After" in ready.headers

    outage.restart()
    assert ann.get("/readyz").status_code == 200
    assert ann.whoami().status_code == 200
    again = ann.refresh(refresh_token)
    assert again.status_code == 200
    assert int(again.json["refresh_token"].split(".")[3]) == int(refresh_token.split(".")[3]) + 1
    assert bob.post("/v1/register/confirm", confirmation).status_code == 200
    assert ann.logout().status_code == 204


def test_service_started_without_its_database_recovers(make_service, server, outage):
    outage.stop()
    service = make_service(server.url())
    assert_unavailable(service.actor("carl").login())
    assert service.actor().get("/readyz").status_code == 503
    outage.restart()
    assert service.actor().get("/readyz").status_code == 200
    assert service.actor("carl").login().status_code == 401


def test_errors_never_reveal_the_database_location(service, server, outage, capsys):
    outage.stop()
    answer = service.actor("dora").login()
    assert_unavailable(answer)
    for secret in (str(server.port), "127.0.0.1", "psycopg", "Traceback", "SELECT"):
        assert secret not in answer.text
    assert "correct horse" not in capsys.readouterr().out


def test_exhausted_database_connections_are_503(make_service, server):
    engine = create_engine(server.url(), isolation_level="AUTOCOMMIT")
    with engine.connect() as admin:
        admin.execute(text("CREATE ROLE narrow LOGIN CONNECTION LIMIT 1"))
        admin.execute(text("GRANT ALL ON ALL TABLES IN SCHEMA public TO narrow"))
        admin.execute(text("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO narrow"))
        url = server.url().replace("postgres@", "narrow@")
        service, taker = make_service(url), create_engine(url)
        with taker.connect():
            assert_unavailable(service.actor("fred").login())
        taker.dispose()
        admin.execute(text("ALTER ROLE narrow CONNECTION LIMIT 20"))
    engine.dispose()
    assert service.actor("fred").login().status_code == 401


def test_held_lock_is_503_and_not_an_endless_wait(service, server):
    ann = service.actor("gina").sign_in()
    engine = create_engine(server.url())
    with engine.begin() as other:
        other.execute(text("SELECT * FROM sessions WHERE status = 'live' FOR UPDATE"))
        began = time.monotonic()
        assert_unavailable(ann.refresh())
        assert time.monotonic() - began < 8
    engine.dispose()
    assert ann.refresh().status_code == 200


def test_sqlite_file_locked_by_a_writer_is_503(sqlite_service):
    ann = sqlite_service.actor("ann").sign_in()
    other = sqlite3.connect(
        sqlite_service.settings.database_url.removeprefix("sqlite:///"), isolation_level=None
    )
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    assert_unavailable(ann.refresh())
    assert time.monotonic() - began < 10
    assert ann.whoami().status_code == 200, "readers need not wait for a writer"
    other.execute("ROLLBACK")
    other.close()
    assert ann.refresh().status_code == 200


def test_full_disk_is_503_and_stores_nothing_partially(sqlite_service):
    ann = sqlite_service.actor("ann").sign_in()
    with sqlite_service.open_database() as db:
        pages = db.execute(text("PRAGMA page_count")).scalar()
        before = db.execute(text("SELECT count(*) FROM sessions")).scalar()
    connection = sqlite_service.units.database.engine.raw_connection()  # the only connection
    connection.execute(f"PRAGMA max_page_count = {pages}")
    connection.close()
    answers = [ann.login(device_name="x" * 60) for _ in range(60)]
    full = [answer for answer in answers if answer.status_code == 503]
    assert full
    assert_unavailable(full[0])
    assert sqlite_service.scalar("SELECT count(*) FROM sessions") == before + sum(
        answer.status_code == 200 for answer in answers
    )
    assert ann.whoami().status_code == 200
