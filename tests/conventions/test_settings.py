"""Settings: all errors at once, by name and without values, and the output of the config commands."""

from __future__ import annotations

import dataclasses
import os

import pytest
from click.testing import CliRunner

from app.cli import cli
from app.factory import create_app
from app.settings import Settings, SettingsError, load_settings, render_reference, render_settings
from tests.actors import SECRET
from tests.live import ROOT, clean_environment

PRODUCTION = {
    "ENV": "production",
    "DATABASE_URL": "postgresql://door@db/door",
    "PUBLIC_URL": "https://door.example.com",
    "SMTP_URL": "smtps://mail.example.com",
}
NAMES = [field.name.upper() for field in dataclasses.fields(Settings)]


@pytest.fixture
def read_environment(monkeypatch):
    """Read settings from exactly these variables; names without the prefix get it."""

    def read(*, bare: dict[str, str] | None = None, **values: str) -> Settings:
        for name in clean_environment().keys() ^ os.environ.keys():
            monkeypatch.delenv(name)
        for name, value in {
            **{f"DOORWARD_{name}": value for name, value in values.items()},
            **(bare or {}),
        }.items():
            monkeypatch.setenv(name, value)
        return load_settings()

    return read


def collect_faults(read_environment, **values) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read_environment(**{"SECRET_KEY": SECRET, **values})
    return caught.value.faults


def run_command(*words: str, **values: str):
    """Run `python -m app` with these arguments."""
    env = {f"DOORWARD_{name}": value for name, value in {"SECRET_KEY": SECRET, **values}.items()}
    return CliRunner().invoke(cli, words, obj=create_app, env=env)


# Reading.


def test_secret_key_is_the_only_required_setting(read_environment):
    settings = read_environment(SECRET_KEY=SECRET)
    assert settings.database_url == f"sqlite:////{str(ROOT / 'var/doorward.db').lstrip('/')}"
    assert settings.audience == settings.issuer == settings.public_url == "http://127.0.0.1:8080"
    assert settings.link_confirm == "http://127.0.0.1:8080/confirm/{token}"
    assert settings.mail_from == "Doorward <no-reply@127.0.0.1>"


@pytest.mark.parametrize("name", ["SECRET_KEY", "DATABASE_URL", "SMTP_URL", "RESOURCES"])
def test_setting_can_be_read_from_a_file(read_environment, tmp_path, name):
    value = {
        "SECRET_KEY": SECRET,
        "DATABASE_URL": "postgresql://a:b@c/d",
        "SMTP_URL": "smtp://mail",
        "RESOURCES": '{"a": "https://b.c"}',
    }[name]
    path = tmp_path / "value"
    path.write_text(f"{value}\n")
    others = {} if name == "SECRET_KEY" else {"SECRET_KEY": SECRET}
    assert read_environment(**{f"{name}_FILE": str(path)}, **others) == read_environment(
        **{name: value}, **others
    )


def test_setting_given_twice_is_an_error(read_environment, tmp_path):
    path = tmp_path / "value"
    path.write_text(SECRET)
    assert collect_faults(read_environment, SECRET_KEY_FILE=str(path)) == [
        "DOORWARD_SECRET_KEY: is set twice, here and by DOORWARD_SECRET_KEY_FILE"
    ]


def test_unreadable_file_is_an_error_naming_its_setting(read_environment, tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "bytes"):
        [fault] = collect_faults(read_environment, SMTP_URL_FILE=str(path))
        assert fault.startswith("DOORWARD_SMTP_URL: ")
        assert str(path) not in fault


def test_empty_setting_counts_as_unset(read_environment):
    assert read_environment(
        SECRET_KEY=SECRET, SMTP_URL="", MAIL_FROM=" ", ENV=""
    ) == read_environment(SECRET_KEY=SECRET)


def test_older_secret_keys_follow_the_newest(read_environment):
    assert read_environment(SECRET_KEY=f"{SECRET}, {SECRET[::-1]}").secret_key == (
        SECRET,
        SECRET[::-1],
    )


@pytest.mark.parametrize(
    "name",
    [
        "TYPO",
        "SMTP",
        "SECRETKEY",
        "TYPO_FILE",
        "DATABASE_URL_FILE_FILE",
        "PORTS",
        "SERVICE",
        "SMTP_PORT",
    ],
)
def test_unknown_setting_is_an_error(read_environment, name):
    assert collect_faults(read_environment, **{name: "hunter2"}) == [
        f"DOORWARD_{name}: is not a setting of this version"
    ]


def test_variables_of_kubernetes_and_the_client_are_ignored(read_environment):
    kubernetes = {
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "8080",
        "SERVICE_PORT_HTTP": "8080",
        "PORT": "tcp://10.0.0.1:8080",
        "PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "PORT_8080_TCP_PROTO": "tcp",
        "PORT_8080_TCP_PORT": "8080",
        "PORT_8080_TCP_ADDR": "10.0.0.1",
    }
    client = {
        "URL": "https://door.example.com",
        "USER": "ann",
        "TOKEN": "secret",
        "STORE": "keyring",
    }
    assert read_environment(SECRET_KEY=SECRET, **kubernetes, **client) == read_environment(
        SECRET_KEY=SECRET
    )


WRONG = {
    "DATABASE_URL": [
        "mysql://h/d",
        "sqlite://",
        "sqlite:///",
        "postgresql:/h",
        "postgresql://u:p/w@h/d",
        "postgresql://u:p#w@h/d",
        "postgresql://h:p0rt/d",
    ],
    "PUBLIC_URL": [
        "door.example.com",
        "ftp://a",
        "https://",
        "https://a?b",
        "https://a#b",
        "https://u@a",
        "https://a b",
        "https://a:99999",
        "https://[::1",
    ],
    "SMTP_URL": [
        "mail:25",
        "http://mail",
        "smtp://",
        "smtp://mail/path",
        "smtp://mail:p0rt",
        "smtp://u:p#w@mail",
    ],
    "MAIL_FROM": ["nobody", "a@b, c@d", "A <a@b", "<a@b>", "a@b\nBcc: c@d", "A\r\nBcc: c@d <a@b>"],
    "LINK_CONFIRM": ["https://a/", "https://a/{token}/{token}", "{token}", "javascript:{token}"],
    "TRUSTED_PROXIES": ["10.0.0.0/33", "10.0.0.1/8", "gateway", "*"],
    "TRUSTED_HOSTS": ["*", "a b", "a/b", ","],
    "CORS_ORIGINS": ["*", "null", "https://*.a", "https://a/", "a.example", "https://u@a/b"],
    "RESOURCES": ["[]", "{", '{"a": 1}', '{"a": "javascript:x"}', "null", "[" * 100_000],
    "ENV": ["prod", "Production"],
    "OUTBOX": ["none"],
    "SIGNING_ALGORITHM": ["HS256", "none", "RS256"],
    "ACCESS_TOKEN_TTL": ["0", "901", "-1", "5m", "300.5", "٣٠٠", "1e3", "9" * 5000],
    "PASSWORD_MIN_LENGTH": ["7", "65", "x"],
    "REPLICAS": ["0", "two"],
    "REDIS_URL": [
        "http://h",
        "redis://",
        "redis://h:abc/0",
        "redis://h:99999",
        "redis://h?socket_timeout=30",
        "unix://",
    ],
    "LIMIT_LOGIN": ["0/minute", "20", "20/fortnight", "-1/minute", "20/minute;", "unlimited"],
    "SECRET_KEY": ["short", "a" * 64, f"{SECRET},short", ","],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in WRONG.items() for value in values],
    ids=lambda text: text[:30],
)
def test_invalid_value_is_an_error(read_environment, name, value):
    [fault] = collect_faults(read_environment, **{name: value})
    assert fault.startswith(f"DOORWARD_{name}: ")


@pytest.mark.parametrize("name", WRONG)
def test_error_does_not_show_the_value(read_environment, name):
    [fault] = collect_faults(read_environment, **{name: "hunter2*/ <>"})
    assert "hunter2" not in fault


def test_all_errors_are_reported_at_once(read_environment):
    found = collect_faults(
        read_environment, SECRET_KEY="short", SMTP_URL="x", REPLICAS="x", TYPO="x"
    )
    assert {fault.partition(":")[0].removeprefix("DOORWARD_") for fault in found} == {
        "SECRET_KEY",
        "SMTP_URL",
        "REPLICAS",
        "TYPO",
    }


# Production.


def test_production_accepts_safe_settings(read_environment):
    settings = read_environment(SECRET_KEY=SECRET, **PRODUCTION)
    assert settings.is_production
    assert settings.docs == "off"
    assert settings.allowed_hosts == {"door.example.com"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"PUBLIC_URL": "http://door.example.com"},
            ["PUBLIC_URL", "ISSUER", "LINK_CONFIRM", "LINK_RESET"],
        ),
        ({"ISSUER": "http://door.example.com"}, ["ISSUER"]),
        ({"LINK_CONFIRM": "http://app.example.com/{token}"}, ["LINK_CONFIRM"]),
        ({"SMTP_URL": ""}, ["SMTP_URL"]),
        ({"ARGON2_MEMORY_KIB": "19455"}, ["ARGON2_MEMORY_KIB, DOORWARD_ARGON2_TIME_COST"]),
        ({"ARGON2_TIME_COST": "1"}, ["ARGON2_MEMORY_KIB, DOORWARD_ARGON2_TIME_COST"]),
        (
            {"DATABASE_URL": "sqlite:///var/x.db", "REPLICAS": "2", "REDIS_URL": "redis://cache"},
            ["DATABASE_URL"],
        ),
        ({"DATABASE_URL": "postgresql://u:p@db/d", "REPLICAS": "2"}, ["REDIS_URL"]),
    ],
    ids="+".join,
)
def test_production_refuses_unsafe_settings(read_environment, changes, named):
    found = collect_faults(read_environment, **{**PRODUCTION, **changes})
    assert [fault.partition(":")[0].removeprefix("DOORWARD_") for fault in found] == named


def test_production_refuses_debug_mode(read_environment):
    assert collect_faults(read_environment, **PRODUCTION, bare={"FLASK_DEBUG": "1"}) == [
        "FLASK_DEBUG: must not be set in production"
    ]


@pytest.mark.parametrize(("memory", "passes"), [(12288, 3), (19456, 2), (47104, 1), (65536, 4)])
def test_production_accepts_hashes_at_the_minimum_cost(read_environment, memory, passes):
    assert read_environment(
        SECRET_KEY=SECRET, **PRODUCTION, ARGON2_MEMORY_KIB=str(memory), ARGON2_TIME_COST=str(passes)
    )


# Output.


def test_reference_lists_every_setting_with_default_and_meaning():
    printed = run_command("config", "reference").output
    assert printed == render_reference() + "\n"
    for name in NAMES:
        assert printed.count(f"\nDOORWARD_{name}=\n") == 1
    for block in printed.strip().split("\n\n"):
        explained, default, variable = block.split("\n")
        assert explained.startswith("# ")
        assert default.startswith("# Default: ")
        assert variable.startswith("DOORWARD_")


def test_example_env_matches_the_reference():
    assert (ROOT / "config" / "example.env").read_text() == render_reference()


def test_example_env_is_valid_once_it_has_a_secret(read_environment):
    values = dict(
        line.split("=", 1)
        for line in render_reference().splitlines()
        if line.startswith("DOORWARD_")
    )
    bare = {**values, "DOORWARD_SECRET_KEY": SECRET}
    assert read_environment(bare=bare) == read_environment(SECRET_KEY=SECRET)


@pytest.mark.parametrize(
    ("name", "value", "masked"),
    [
        (
            "DATABASE_URL",
            "postgresql://door:hunter2@db:5432/door",
            "postgresql+psycopg://***@db:5432/door",
        ),
        ("DATABASE_URL", "postgresql://hunter2@db/door", "postgresql+psycopg://***@db/door"),
        (
            "DATABASE_URL",
            "postgresql://db/door?user=door&password=hunter2",
            "postgresql+psycopg://db/door?***",
        ),
        (
            "DATABASE_URL",
            "postgresql://door:hunter2%40%2F@db/door?sslpassword=hunter2",
            "postgresql+psycopg://***@db/door?***",
        ),
        ("DATABASE_URL", "sqlite:////srv/door.db", "sqlite:////srv/door.db"),
        ("SMTP_URL", "smtps://post:hunter2@mail:465", "smtps://***@mail:465"),
        ("SMTP_URL", "smtps://mail", "smtps://mail"),
        ("SECRET_KEY", "hunter2 hunter2 hunter2 hunter2 hunter2", "***"),
    ],
)
def test_shown_settings_hide_what_is_secret(name, value, masked):
    result = run_command("config", "show", **{name: value})
    assert result.exit_code == 0
    assert f"DOORWARD_{name}={masked}\n" in result.output
    assert "hunter2" not in result.output
    assert [line.partition("=")[0] for line in result.output.splitlines()] == [
        f"DOORWARD_{name}" for name in NAMES
    ]


def test_shown_settings_can_be_used_as_input(read_environment):
    values = {
        "TRUSTED_PROXIES": "10.0.0.0/8,fd00::/8",
        "RESOURCES": '{"a": "https://b.c"}',
        "ACCESS_TOKEN_TTL": "600",
        "DOCS": "off",
    }
    settings = read_environment(SECRET_KEY=SECRET, **values)
    lines = dict(line.split("=", 1) for line in render_settings(settings).splitlines())
    assert read_environment(bare={**lines, "DOORWARD_SECRET_KEY": SECRET}) == settings


def test_invalid_settings_are_shown_with_their_errors():
    result = run_command("config", "show", SMTP_URL="hunter2")
    assert result.exit_code == 2
    assert "DOORWARD_SMTP_URL" in result.output
    assert "hunter2" not in result.output


def test_settings_repr_hides_secrets(read_environment):
    settings = read_environment(
        SECRET_KEY=SECRET, DATABASE_URL="postgresql://a:hunter2@b/c", SMTP_URL="smtp://a:hunter2@b"
    )
    assert "hunter2" not in repr(settings)
    assert SECRET not in repr(settings)
