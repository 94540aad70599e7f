"""`python -m app doctor` finds problems, suggests fixes, shows no secret and terminates."""

from __future__ import annotations

import re
import socket
import time
from contextlib import ExitStack, contextmanager
from threading import Thread

import pytest
from aiosmtpd.controller import Controller
from sqlalchemy import create_engine, text

from tests.actors import SECRET
from tests.cli_runner import run_cli
from tests.live import run_command
from tests.postgres import find_free_port
from tests.valkey import WITHOUT_PERSISTENCE, Valkey

NAMES = [
    "settings",
    "argon2",
    "database",
    "clock",
    "signing keys",
    "redis",
    "smtp",
    "public url",
    "proxies",
]
LINE = re.compile(r"(ok   |warn |FAULT)  (.{12})  (.+)")
OTHER_SECRET = "another test only another test only 0123456789"
PRODUCTION = {
    "DOORWARD_ENV": "production",
    "DOORWARD_PUBLIC_URL": "https://auth.example.org",
    "DOORWARD_ARGON2_MEMORY_KIB": "19456",
    "DOORWARD_ARGON2_TIME_COST": "2",
}


@pytest.fixture
def doctor(sqlite_url):
    """Run doctor.

    Returns the exit code, and level and text by name. `started` runs it in a process that hanging
    checks cannot block.
    """

    def doctor(*, started=False, **env):
        env = {"DOORWARD_DATABASE_URL": sqlite_url, **env}
        done = run_command("doctor", env=env) if started else run_cli("doctor", **env)
        lines = [LINE.fullmatch(line) for line in done.stdout.splitlines()]
        assert lines, done.stderr
        return done, {line[2].strip(): (line[1].strip(), line[3]) for line in lines}

    return doctor


@contextmanager
def answering(answer):
    """Start a server with this behavior for each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ExitStack() as open_connections:

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                open_connections.enter_context(connection)
                Thread(target=answer, args=(connection,), daemon=True).start()

        Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


def silence(_connection):
    """Accept the connection and send nothing."""


def old_redis(connection):
    """Answer like Redis 5, as far as a client asks before it notices."""
    said = b"redis_version:5.0.14\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n"
    try:
        while asked := connection.recv(4096):
            for command in re.findall(rb"\*\d+\r\n\$\d+\r\n(\w+)\r\n", asked):
                connection.sendall(
                    b"$%d\r\n%s\r\n" % (len(said), said) if command == b"INFO" else b"+OK\r\n"
                )
    except OSError:
        return


@pytest.fixture
def smtp_url():
    class Nothing:
        """Accepts no email, because doctor sends none."""

        async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
            raise AssertionError("a mail was sent")

    controller = Controller(Nothing(), hostname="127.0.0.1", port=find_free_port())
    controller.start()
    yield f"smtp://127.0.0.1:{controller.port}"
    controller.stop()


def test_healthy_deployment_has_no_findings(doctor, empty_postgres_url, redis_url, smtp_url):
    done, said = doctor(
        DOORWARD_DATABASE_URL=empty_postgres_url,
        DOORWARD_REDIS_URL=redis_url,
        DOORWARD_SMTP_URL=smtp_url,
    )
    assert done.returncode == 0
    assert list(said) == NAMES
    assert {level for level, _ in said.values()} == {"ok"}
    assert "PostgreSQL answers" in said["database"][1]
    assert "noeviction" in said["redis"][1]


def test_default_settings_have_no_findings(doctor):
    done, said = doctor()
    assert done.returncode == 0
    assert {level for level, _ in said.values()} == {"ok"}


def test_unavailable_services_are_reported_without_secrets(doctor):
    planted = ["plantedpg1", "plantedredis2", "plantedsmtp3", "planted/smtp", "planted%2Fsmtp"]
    began = time.monotonic()
    with answering(silence) as postgres, answering(silence) as redis, answering(silence) as smtp:
        done, said = doctor(
            started=True,
            DOORWARD_DATABASE_URL=f"postgresql://doorward:plantedpg1@127.0.0.1:{postgres}/doorward",
            DOORWARD_REDIS_URL=f"redis://:plantedredis2@127.0.0.1:{redis}/0",
            DOORWARD_SMTP_URL=f"smtp://mail:planted%2Fsmtp@127.0.0.1:{smtp}",
        )
    assert time.monotonic() - began < 40  # including the start of a process on a busy machine
    assert done.returncode == 1
    assert list(said) == NAMES
    assert {name for name, (level, _) in said.items() if level == "FAULT"} == {
        "database",
        "redis",
        "smtp",
    }
    assert (
        said["clock"] == said["signing keys"] == ("warn", "not checked -> fix the database first")
    )
    assert all("->" in words for level, words in said.values() if level != "ok")
    assert not [secret for secret in [*planted, SECRET] if secret in done.stdout + done.stderr]


def test_refused_password_is_reported_without_the_password(doctor, postgres_url):
    server = Valkey(*WITHOUT_PERSISTENCE, "--requirepass", "rightpassword")
    try:
        done, said = doctor(DOORWARD_REDIS_URL=server.url.replace("//", "//:plantedredis2@"))
    finally:
        server.stop()
    assert done.returncode == 1
    assert said["redis"][0] == "FAULT"
    assert said["database"][0] == "ok"
    assert "plantedredis2" not in done.stdout + done.stderr

    address = postgres_url.rpartition("/")[0]
    done, said = doctor(
        DOORWARD_DATABASE_URL=f"{address.replace('postgres@', 'postgres:plantedpg1@')}/nosuchdatabase"
    )
    assert said["database"][0] == "FAULT"
    assert "nosuchdatabase" in said["database"][1]
    assert "plantedpg1" not in done.stdout + done.stderr


def test_settings_are_named_and_never_shown(doctor):
    done, said = doctor(
        DOORWARD_SECRET_KEY="plantedshort",
        DOORWARD_REDIS_URL="http://plantedredis2",
        DOORWARD_NO_SUCH="1",
    )
    assert done.returncode == 1
    assert list(said) == NAMES
    for name in ("DOORWARD_SECRET_KEY", "DOORWARD_REDIS_URL", "DOORWARD_NO_SUCH"):
        assert re.search(rf"^FAULT  settings      {name}:", done.stdout, re.MULTILINE)
    assert "planted" not in done.stdout + done.stderr


def test_outdated_schema_is_an_error(doctor, sqlite_url, tmp_path):
    engine = create_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    engine.dispose()
    done, said = doctor()
    assert done.returncode == 1
    assert said["database"][0] == "FAULT"
    assert "db upgrade" in said["database"][1]

    missing = tmp_path / "missing.db"
    _, said = doctor(DOORWARD_DATABASE_URL=f"sqlite:///{missing}")
    assert said["database"][0] == "FAULT"
    assert not missing.exists()


def test_clock_offset_is_an_error(doctor, empty_postgres_url):
    """A test cannot set the clock of PostgreSQL, so a function shadows now()."""
    database = empty_postgres_url.rpartition("/")[2]
    engine = create_engine(empty_postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        late = "SELECT pg_catalog.clock_timestamp() + interval '10 seconds'"
        connection.execute(
            text(
                f"CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $${late}$$"
            )
        )
        connection.execute(text(f"ALTER DATABASE {database} SET search_path = public, pg_catalog"))
        try:
            done, said = doctor(DOORWARD_DATABASE_URL=empty_postgres_url)
        finally:
            connection.execute(text(f"ALTER DATABASE {database} RESET search_path"))
            connection.execute(text("DROP FUNCTION public.clock_timestamp()"))
    engine.dispose()
    assert done.returncode == 1
    assert said["clock"][0] == "FAULT"
    assert "NTP" in said["clock"][1]
    assert said["signing keys"][0] == "ok"


def test_unreadable_signing_key_is_an_error(doctor, sqlite_service):
    sqlite_service.actor("ann").sign_in()  # creates the first signing key
    url = {"DOORWARD_DATABASE_URL": sqlite_service.settings.database_url}
    _, said = doctor(**url)
    assert said["signing keys"][0] == "ok"
    assert "1 published" in said["signing keys"][1]

    done, said = doctor(**url, DOORWARD_SECRET_KEY=OTHER_SECRET)
    assert done.returncode == 1
    assert said["signing keys"][0] == "FAULT"

    done, said = doctor(**url, DOORWARD_SECRET_KEY=f"{OTHER_SECRET},{SECRET}")
    assert done.returncode == 0
    assert said["signing keys"][0] == "warn"
    assert "secrets rewrap" in said["signing keys"][1]


@pytest.mark.parametrize(
    ("options", "level", "words"),
    [
        (["--maxmemory-policy", "allkeys-lru"], "warn", "dropped entries are"),
        (["--maxmemory-policy", "volatile-ttl"], "ok", "volatile-ttl"),
        (["--replicaof", "127.0.0.1", "1"], "FAULT", "is a replica"),
        (["--user", *"default on nopass ~* &* +@all -info".split()], "warn", "INFO is forbidden"),
    ],
)
def test_unsuitable_redis_configuration_is_reported(doctor, options, level, words):
    server = Valkey(*WITHOUT_PERSISTENCE, *options)
    try:
        done, said = doctor(DOORWARD_REDIS_URL=server.url)
    finally:
        server.stop()
    assert said["redis"][0] == level
    assert words in said["redis"][1]
    assert done.returncode == (1 if level == "FAULT" else 0)


def test_too_old_redis_is_an_error(doctor):
    with answering(old_redis) as port:
        done, said = doctor(DOORWARD_REDIS_URL=f"redis://127.0.0.1:{port}/0")
    assert done.returncode == 1
    assert said["redis"] == (
        "FAULT",
        "Redis 5.0.14 is too old -> use Redis 6.2 or later, or Valkey",
    )


def test_smtp_login_failure_is_an_error(doctor, smtp_url):
    done, said = doctor(DOORWARD_SMTP_URL=smtp_url.replace("smtp://", "smtp://mail:plantedsmtp3@"))
    assert done.returncode == 1
    assert said["smtp"][0] == "FAULT"
    _, said = doctor(DOORWARD_SMTP_URL=smtp_url.replace("smtp://", "smtp+starttls://"))
    assert said["smtp"][0] == "FAULT"
    assert "plantedsmtp3" not in done.stdout + done.stderr


def test_unusual_production_settings_are_warnings(doctor, smtp_url):
    done, said = doctor(
        **PRODUCTION, DOORWARD_SMTP_URL=smtp_url, DOORWARD_ISSUER="https://id.example.org"
    )
    assert done.returncode == 0
    assert said["proxies"][0] == "warn"
    assert "share one rate limit" in said["proxies"][1]
    assert said["smtp"][0] == "warn"
    assert "without encryption" in said["smtp"][1]
    assert said["public url"][0] == "warn"
    assert "https://id.example.org" in said["public url"][1]


def test_invalid_urls_are_errors(doctor):
    done, said = doctor(
        DOORWARD_PUBLIC_URL="https://auth.example.org",
        DOORWARD_TRUSTED_HOSTS="other.example.org",
        DOORWARD_TRUSTED_PROXIES="10.0.0.0/8,0.0.0.0/0",
    )
    assert done.returncode == 1
    assert said["public url"][0] == said["proxies"][0] == "FAULT"
