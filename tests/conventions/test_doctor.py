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
def run_doctor(sqlite_url):
    """Run doctor.

    Returns the exit code, and level and text by name. `started` runs it in a process that hanging
    checks cannot block.
    """

    def doctor(*, started=False, **env):
        env = {"DOORWARD_DATABASE_URL": sqlite_url, **env}
        result = run_command("doctor", env=env) if started else run_cli("doctor", **env)
        lines = [LINE.fullmatch(line) for line in result.stdout.splitlines()]
        assert lines, result.stderr
        return result, {line[2].strip(): (line[1].strip(), line[3]) for line in lines}

    return doctor


@contextmanager
def serve_connections(answer):
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


def send_nothing(_connection):
    """Accept the connection and send nothing."""


def answer_like_redis_5(connection):
    """Answer the commands that a client sends until it knows the version, as Redis 5 does."""
    info = b"redis_version:5.0.14\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n"
    try:
        while data := connection.recv(4096):
            for command in re.findall(rb"\*\d+\r\n\$\d+\r\n(\w+)\r\n", data):
                connection.sendall(
                    b"$%d\r\n%s\r\n" % (len(info), info) if command == b"INFO" else b"+OK\r\n"
                )
    except OSError:
        return


@pytest.fixture
def smtp_url():
    class Nothing:
        """Accepts no email, because doctor sends none."""

        async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
            raise AssertionError("an email was sent")

    controller = Controller(Nothing(), hostname="127.0.0.1", port=find_free_port())
    controller.start()
    yield f"smtp://127.0.0.1:{controller.port}"
    controller.stop()


def test_healthy_deployment_has_no_findings(run_doctor, empty_postgres_url, redis_url, smtp_url):
    result, findings = run_doctor(
        DOORWARD_DATABASE_URL=empty_postgres_url,
        DOORWARD_REDIS_URL=redis_url,
        DOORWARD_SMTP_URL=smtp_url,
    )
    assert result.returncode == 0
    assert list(findings) == NAMES
    assert {level for level, _ in findings.values()} == {"ok"}
    assert "PostgreSQL answers" in findings["database"][1]
    assert "noeviction" in findings["redis"][1]


def test_default_settings_have_no_findings(run_doctor):
    result, findings = run_doctor()
    assert result.returncode == 0
    assert {level for level, _ in findings.values()} == {"ok"}


def test_unavailable_services_are_reported_without_secrets(run_doctor):
    planted = ["plantedpg1", "plantedredis2", "plantedsmtp3", "planted/smtp", "planted%2Fsmtp"]
    began = time.monotonic()
    with (
        serve_connections(send_nothing) as postgres,
        serve_connections(send_nothing) as redis,
        serve_connections(send_nothing) as smtp,
    ):
        result, findings = run_doctor(
            started=True,
            DOORWARD_DATABASE_URL=f"postgresql://doorward:plantedpg1@127.0.0.1:{postgres}/doorward",
            DOORWARD_REDIS_URL=f"redis://:plantedredis2@127.0.0.1:{redis}/0",
            DOORWARD_SMTP_URL=f"smtp://mail:planted%2Fsmtp@127.0.0.1:{smtp}",
        )
    assert time.monotonic() - began < 40  # including the start of a process on a busy machine
    assert result.returncode == 1
    assert list(findings) == NAMES
    assert {name for name, (level, _) in findings.items() if level == "FAULT"} == {
        "database",
        "redis",
        "smtp",
    }
    assert (
        findings["clock"]
        == findings["signing keys"]
        == ("warn", "not checked -> fix the database first")
    )
    assert all("->" in words for level, words in findings.values() if level != "ok")
    assert not [secret for secret in [*planted, SECRET] if secret in result.stdout + result.stderr]


def test_refused_password_is_reported_without_the_password(run_doctor, postgres_url):
    server = Valkey(*WITHOUT_PERSISTENCE, "--requirepass", "rightpassword")
    try:
        result, findings = run_doctor(
            DOORWARD_REDIS_URL=server.url.replace("//", "//:plantedredis2@")
        )
    finally:
        server.stop()
    assert result.returncode == 1
    assert findings["redis"][0] == "FAULT"
    assert findings["database"][0] == "ok"
    assert "plantedredis2" not in result.stdout + result.stderr

    address = postgres_url.rpartition("/")[0]
    result, findings = run_doctor(
        DOORWARD_DATABASE_URL=f"{address.replace('postgres@', 'postgres:plantedpg1@')}/nosuchdatabase"
    )
    assert findings["database"][0] == "FAULT"
    assert "nosuchdatabase" in findings["database"][1]
    assert "plantedpg1" not in result.stdout + result.stderr


def test_settings_are_named_and_never_shown(run_doctor):
    result, findings = run_doctor(
        DOORWARD_SECRET_KEY="plantedshort",
        DOORWARD_REDIS_URL="http://plantedredis2",
        DOORWARD_NO_SUCH="1",
    )
    assert result.returncode == 1
    assert list(findings) == NAMES
    for name in ("DOORWARD_SECRET_KEY", "DOORWARD_REDIS_URL", "DOORWARD_NO_SUCH"):
        assert re.search(rf"^FAULT  settings      {name}:", result.stdout, re.MULTILINE)
    assert "planted" not in result.stdout + result.stderr


def test_outdated_schema_is_an_error(run_doctor, sqlite_url, tmp_path):
    engine = create_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    engine.dispose()
    result, findings = run_doctor()
    assert result.returncode == 1
    assert findings["database"][0] == "FAULT"
    assert "db upgrade" in findings["database"][1]

    missing = tmp_path / "missing.db"
    _, findings = run_doctor(DOORWARD_DATABASE_URL=f"sqlite:///{missing}")
    assert findings["database"][0] == "FAULT"
    assert not missing.exists()


def test_clock_offset_is_an_error(run_doctor, empty_postgres_url):
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
            result, findings = run_doctor(DOORWARD_DATABASE_URL=empty_postgres_url)
        finally:
            connection.execute(text(f"ALTER DATABASE {database} RESET search_path"))
            connection.execute(text("DROP FUNCTION public.clock_timestamp()"))
    engine.dispose()
    assert result.returncode == 1
    assert findings["clock"][0] == "FAULT"
    assert "NTP" in findings["clock"][1]
    assert findings["signing keys"][0] == "ok"


def test_unreadable_signing_key_is_an_error(run_doctor, sqlite_service):
    sqlite_service.actor("ann").sign_in()  # creates the first signing key
    url = {"DOORWARD_DATABASE_URL": sqlite_service.settings.database_url}
    _, findings = run_doctor(**url)
    assert findings["signing keys"][0] == "ok"
    assert "1 published" in findings["signing keys"][1]

    result, findings = run_doctor(**url, DOORWARD_SECRET_KEY=OTHER_SECRET)
    assert result.returncode == 1
    assert findings["signing keys"][0] == "FAULT"

    result, findings = run_doctor(**url, DOORWARD_SECRET_KEY=f"{OTHER_SECRET},{SECRET}")
    assert result.returncode == 0
    assert findings["signing keys"][0] == "warn"
    assert "secrets rewrap" in findings["signing keys"][1]


@pytest.mark.parametrize(
    ("options", "level", "words"),
    [
        (["--maxmemory-policy", "allkeys-lru"], "warn", "dropped entries are"),
        (["--maxmemory-policy", "volatile-ttl"], "ok", "volatile-ttl"),
        (["--replicaof", "127.0.0.1", "1"], "FAULT", "is a replica"),
        (["--user", *"default on nopass ~* &* +@all -info".split()], "warn", "INFO is forbidden"),
    ],
)
def test_unsuitable_redis_configuration_is_reported(run_doctor, options, level, words):
    server = Valkey(*WITHOUT_PERSISTENCE, *options)
    try:
        result, findings = run_doctor(DOORWARD_REDIS_URL=server.url)
    finally:
        server.stop()
    assert findings["redis"][0] == level
    assert words in findings["redis"][1]
    assert result.returncode == (1 if level == "FAULT" else 0)


def test_too_old_redis_is_an_error(run_doctor):
    with serve_connections(answer_like_redis_5) as port:
        result, findings = run_doctor(DOORWARD_REDIS_URL=f"redis://127.0.0.1:{port}/0")
    assert result.returncode == 1
    assert findings["redis"] == (
        "FAULT",
        "Redis 5.0.14 is too old -> use Redis 6.2 or later, or Valkey",
    )


def test_smtp_login_failure_is_an_error(run_doctor, smtp_url):
    result, findings = run_doctor(
        DOORWARD_SMTP_URL=smtp_url.replace("smtp://", "smtp://mail:plantedsmtp3@")
    )
    assert result.returncode == 1
    assert findings["smtp"][0] == "FAULT"
    _, findings = run_doctor(DOORWARD_SMTP_URL=smtp_url.replace("smtp://", "smtp+starttls://"))
    assert findings["smtp"][0] == "FAULT"
    assert "plantedsmtp3" not in result.stdout + result.stderr


def test_unusual_production_settings_are_warnings(run_doctor, smtp_url):
    result, findings = run_doctor(
        **PRODUCTION, DOORWARD_SMTP_URL=smtp_url, DOORWARD_ISSUER="https://id.example.org"
    )
    assert result.returncode == 0
    assert findings["proxies"][0] == "warn"
    assert "share one rate limit" in findings["proxies"][1]
    assert findings["smtp"][0] == "warn"
    assert "without encryption" in findings["smtp"][1]
    assert findings["public url"][0] == "warn"
    assert "https://id.example.org" in findings["public url"][1]


def test_invalid_urls_are_errors(run_doctor):
    result, findings = run_doctor(
        DOORWARD_PUBLIC_URL="https://auth.example.org",
        DOORWARD_TRUSTED_HOSTS="other.example.org",
        DOORWARD_TRUSTED_PROXIES="10.0.0.0/8,0.0.0.0/0",
    )
    assert result.returncode == 1
    assert findings["public url"][0] == findings["proxies"][0] == "FAULT"
