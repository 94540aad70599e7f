"""Help, documentation, completion, durations, formats and unexpected errors of the command line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta, timezone
from xml.etree import ElementTree as ET

import click
import pytest
import yaml
from click.testing import CliRunner

from doorward import DoorwardError, Secret, errors
from doorward.cli.durations import parse_duration
from doorward.cli.exit_codes import MEANINGS, get_exit_code
from doorward.cli.formats import format_data
from doorward.cli.groups import RootGroup
from doorward.cli.main import VARIABLES, cli
from doorward.cli.tables import format_columns, format_pairs
from tests.client.conftest import build_environment
from tests.client.run_cli import run_doorward
from tests.client.terminal import COMMAND
from tests.live import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text()


def list_commands(command: click.Command = cli, words: tuple[str, ...] = ()):
    """Yield every command as (words, command)."""
    yield words, command
    if isinstance(command, click.Group):
        for name, one in command.commands.items():
            yield from list_commands(one, (*words, name))


ALL = dict(list_commands())


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_fits_80_columns(words):
    command = ALL[words]
    page = run_doorward(*words, "--help", COLUMNS="200").out
    assert max(map(len, page.splitlines())) <= 80, page
    assert "..." not in page.replace("[ARGS]...", "").replace("COMMAND", ""), (
        "a sentence is truncated"
    )
    assert "\\b" not in page
    assert run_doorward(*words, "-h").out == run_doorward(*words, "--help").out
    narrow = run_doorward(*words, "--help", COLUMNS="40").out
    assert max(map(len, narrow.partition("Options:")[2].splitlines())) <= 40, narrow
    assert (command.help or "").strip()
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{words} {option.opts}"


def test_help_lists_exit_codes_and_variables():
    page = run_doorward("--help").out
    assert all(f"{code}  {meaning}" in page for code, meaning in MEANINGS.items())
    assert all(name in page for name in VARIABLES)


def test_documentation_covers_every_command_and_option():
    described = {
        tuple(heading.split())
        for heading in re.findall(r"^### `doorward ([a-z -]+)`", PAGE, re.MULTILINE)
    }
    runnable = {
        words for words, command in ALL.items() if words and not isinstance(command, click.Group)
    }
    assert described == runnable
    common = find_options(PAGE.partition("## Commands")[0])
    known = {
        name
        for command in ALL.values()
        for one in command.params
        if isinstance(one, click.Option)
        for name in one.opts + one.secondary_opts
    }
    for words in runnable:
        section = re.search(
            rf"^### `doorward {' '.join(words)}`(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL
        )[1]
        server = {
            name
            for one in ALL[words].params
            if isinstance(one, click.Option)
            for name in one.opts + one.secondary_opts
        }
        assert server - common <= find_options(section) <= known, words
    codes = re.search(r"## Exit codes\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    assert {
        int(code): meaning
        for code, meaning in re.findall(r"^\| (\d+) \| (.+?) \|", codes, re.MULTILINE)
    } == MEANINGS
    assert set(re.findall(r"^\| `(DOORWARD_\w+)`", PAGE, re.MULTILINE)) == set(VARIABLES)


def test_recording_contains_only_drawing():
    """It has no script, loads nothing, and shows nothing of the machine. `make recording` draws it."""
    picture = (ROOT / "docs" / "images" / "cli.svg").read_text()
    tags = {element.tag.rpartition("}")[2] for element in ET.fromstring(picture).iter()}
    assert tags <= {"svg", "title", "style", "defs", "g", "use", "rect", "text"}
    assert "prefers-reduced-motion" in picture
    assert not re.search(r"/tmp|/home|/root|dw[a-z]_|url\(|@import", picture)
    assert set(re.findall(r"https?://([a-z0-9.]+)", picture)) <= {
        "www.w3.org",
        "auth.example.com",
        "127.0.0.1",
    }


def find_options(text: str) -> set[str]:
    return set(
        re.findall(r"(?<![\w-])(--?[a-zA-Z][a-z-]*)", " ".join(re.findall(r"`([^`\n]+)`", text)))
    )


def test_no_option_takes_a_password():
    options = {
        name
        for command in ALL.values()
        for one in command.params
        if not getattr(one, "is_flag", False)
        for name in one.opts
    }
    assert not [name for name in options if re.search("pass|secret|token", name)]


def test_version():
    assert re.fullmatch(r"doorward \d+\.\d+\.\d+\n", run_doorward("--version").out)


# Lengths and dates.

VIENNA = timezone(timedelta(hours=1))
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=VIENNA)


@pytest.fixture
def vienna_time_zone(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Vienna")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("45s", timedelta(seconds=45)),
        ("90m", timedelta(minutes=90)),
        ("12h", timedelta(hours=12)),
        ("30D", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
        (" 1d12h ", timedelta(days=1, hours=12)),
        ("2026-11-22", timedelta(hours=12)),  # until local midnight
        ("2027-06-30", timedelta(days=220, hours=11)),  # an hour earlier in summer
        ("2026-11-22T13:30", timedelta(hours=1, minutes=30)),
        ("2026-11-22T12:30Z", timedelta(hours=1, minutes=30)),
    ],
)
def test_durations_and_dates_are_parsed(vienna_time_zone, text, expected):
    assert parse_duration(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12",
        "h",
        "-1d",
        "1y",
        "soon",
        "2027-13-01",
        "2027-02-30",
        "2026-11-21",
        "1d 2h",
        "1.5h",
        "١d",
    ],
)
def test_invalid_duration_is_rejected(vienna_time_zone, text):
    with pytest.raises(ValueError, match=r"^(use a duration like|must be in the future)"):
        parse_duration(text, NOW)


# Forms.

ODD = {
    "empty": {}, "none": None, "list": [], "yes": "yes", "number": "0x1F", "date": "2027-01-31", "true": True, "float": 1.5,
    "lines": "a\nb: - c\t#", "quotes": "'\"\\", "control": "\x00\x1b\x7f\x85\u2028\ufeff", "wide": "漢字 🗝", "half": "\ud83d",
    "nested": [{"a": [1, [2, []], {}]}, [], "- x"], "odd: key": {"1": "x"},
}  # fmt: skip


def test_json_and_yaml_preserve_every_value():
    found = {name: value for name, value in ODD.items() if name != "half"}
    assert yaml.safe_load(format_data(found, "yaml", str)) == found
    assert yaml.safe_load(format_data(found, "json", str).replace("\\ud83d\\udddd", "🗝")) == found
    for form in ("json", "yaml"):
        text = format_data({**ODD, "at": NOW, "key": Secret("dwk_x")}, form, str)
        assert text.isascii()
        assert all(line.isprintable() for line in text.splitlines())
        assert "2026-11-22T11:00:00Z" in text
        assert "dwk_x" not in text


def test_tables_are_shortened_to_fit():
    rows = [
        ("ses_1234567890123456789012", "a name that goes on and on", "x" * 60, None),
        ("1", "漢字" * 20, "", NOW.astimezone(UTC)),
    ]
    for width in (200, 80, 60):
        table = format_columns(
            ("ID", "NAME", "SCOPES", "END"), rows, width, flexible=("NAME", "SCOPES")
        )
        assert (
            max(len(line) + len(re.findall("[漢字]", line)) for line in table.splitlines()) <= width
        )
        assert "ses_1234567890123456789012" in table
    find_subclasses = format_columns(
        ("ID", "NAME", "END"),
        [("ses_1234567890123456789012", "a name " * 9, None), ("1", "", None)],
        30,
        flexible=("NAME",),
    )
    assert (
        max(map(len, find_subclasses.splitlines())) <= 32
    )  # ids are never shortened, so that they can be copied
    assert re.search(
        r"^ID +ses_1234567890123456789012\nNAME +a name .*\n[\s\S]*\n\nID +1\nNAME +-\nEND +-$",
        find_subclasses,
    )
    assert "…" not in format_columns(("A",), [("x" * 100,)], 120, flexible=())
    text = format_pairs({"A name": "word " * 40, "Nothing": ""}, 60)
    assert max(map(len, text.splitlines())) <= 60
    assert text.endswith("Nothing  -")


# The edge.


@pytest.fixture
def failing_command():
    """A command that raises an unexpected error while it holds a secret."""
    group = RootGroup("doorward", params=[cli.params[-1]])

    @group.command("breaks")
    def fail():
        secret = "dwk_hunter2"
        raise ValueError(f"invalid literal: {secret}")

    return group


def test_unexpected_error_shows_no_message(failing_command):
    result = CliRunner().invoke(failing_command, ["breaks"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        result.stderr
        == "Unexpected error (ValueError). Run it again with --debug and report this.\n"
    )


def test_debug_shows_lines_without_values(failing_command):
    result = CliRunner().invoke(failing_command, ["--debug", "breaks"])
    assert result.exit_code == 1
    assert "in fail" in result.stderr
    assert "builtins.ValueError\nUnexpected error" in result.stderr
    assert "invalid literal: dwk" not in result.stderr


def test_debug_works_after_the_command():
    result = run_doorward("whoami", "--debug", DOORWARD_STORE=os.devnull + "-none")
    assert result.code == 3
    assert "from_store" in result.err
    assert "doorward.errors.NotLoggedInError\nYou are not logged in" in result.err


def test_every_error_has_a_documented_exit_code():
    def find_subclasses(kind):
        for one in kind.__subclasses__():
            yield one
            yield from find_subclasses(one)

    assert all(
        get_exit_code(kind()) in MEANINGS
        for kind in [DoorwardError, *find_subclasses(DoorwardError)]
    )
    assert [get_exit_code(errors.LogoutError(status=status)) for status in (0, 429, 503, 409)] == [
        5,
        6,
        5,
        1,
    ]


# Completion.


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(shell):
    result = run_doorward("completion", shell)
    assert result.code == 0
    assert "_DOORWARD_COMPLETE" in result.out
    assert run_doorward("completion", SHELL=f"/bin/{shell}").out == result.out


def test_completion_names_supported_shells():
    assert (
        run_doorward("completion", SHELL="/bin/ksh").code
        == run_doorward("completion", "ksh").code
        == 2
    )
    assert "bash, zsh, fish" in run_doorward("completion", SHELL=None).err


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("doorward se", {"sessions"}),
        ("doorward keys r", {"rotate"}),
        ("doorward whoami -o ", {"table", "json", "yaml"}),
    ],
)
def test_bash_completes(tmp_path, line, offered):
    program = tmp_path / "doorward"
    program.write_text(f'#!/bin/sh\nexec {" ".join(COMMAND)} "$@"\n')
    program.chmod(0o755)
    script = (
        f'source "{tmp_path}/completion"; COMP_WORDS=({line} "") ; COMP_CWORD=$((${{#COMP_WORDS[@]}} - 2));'
        ' [[ "$1" == *" " ]] && COMP_CWORD=$((COMP_CWORD + 1)); _doorward_completion doorward; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    (tmp_path / "completion").write_text(run_doorward("completion", "bash").out)
    env = build_environment(PATH=f"{tmp_path}:{os.environ['PATH']}")
    result = subprocess.run(
        ["bash", "-c", script, "-", line],
        env=env,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert set(result.stdout.split()) == offered, result.stderr
