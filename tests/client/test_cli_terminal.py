"""The command line in a terminal: prompts, device login and interrupts."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from doorward import Doorward
from tests.actors import PASSWORD
from tests.client.conftest import build_environment
from tests.client.terminal import COMMAND, CTRL_C, Terminal

CODE = r"Enter: ([B-Z]{4}-[B-Z]{4})"
NEW = "another battery staple horse"


@pytest.fixture
def open_terminal(monkeypatch, live):
    """Open terminals, with the service in DOORWARD_URL."""
    made = []
    monkeypatch.setenv("DOORWARD_URL", live.url)

    def open_one(*words: str, **parts) -> Terminal:
        made.append(Terminal(*words, **parts))
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def get_login_state(live, message: str) -> str:
    with sqlite3.connect(live.database, timeout=10) as db:
        return db.execute(
            "SELECT state FROM login_sessions WHERE login_message = ?", [message]
        ).fetchone()[0]


def read_command_line(process: subprocess.Popen) -> bytes:
    """Return what other users see in the list of processes."""
    return Path(f"/proc/{process.pid}/cmdline").read_bytes()


def test_login_prompts_without_echoing_the_password(open_terminal, ann, live, store):
    screen = open_terminal("login")
    screen.wait_for("Username or email address:$")
    screen.type(f"{ann.name}\n")
    screen.wait_for(f"Password for {ann.name}:$")
    screen.type(f"{PASSWORD}\n")
    assert screen.wait_for_exit() == 0
    assert f"Logged in at {live.url} as {ann.name}." in screen.text
    assert PASSWORD.encode() not in screen.raw
    assert Doorward(live.url).login.from_store().username == ann.name


def test_reauthentication_prompts_for_the_password(open_terminal, ann, live):
    client = ann.log_in()
    client.session.to_store()
    with sqlite3.connect(live.database, timeout=10) as db:
        db.execute("UPDATE sessions SET auth_time = NULL WHERE id = ?", [client.session.session_id])
    client.session.refresh()
    screen = open_terminal("keys", "create", "nightly")
    screen.wait_for(rf"Re-authentication required by \S+\nPassword for {ann.name}:$")
    screen.type(f"{PASSWORD}\n")
    assert screen.wait_for_exit() == 0
    assert re.search(r"dwk_\w+", screen.text.replace("\n", ""))
    assert PASSWORD.encode() not in screen.raw


def test_new_password_is_confirmed(open_terminal, ann):
    ann.log_in().session.to_store()
    screen = open_terminal("password", "change")
    for question, answer in [
        ("Current password:$", PASSWORD),
        ("New password:$", NEW),
        ("Confirm new password:$", NEW),
    ]:
        screen.wait_for(question)
        screen.type(f"{answer}\n")
    assert screen.wait_for_exit() == 0
    assert NEW.encode() not in screen.raw
    generated = open_terminal("password", "change", "--generate")
    generated.wait_for("Current password:$")
    generated.type(f"{NEW}\n")
    assert generated.wait_for_exit() == 0
    ann.password = re.search(r"^\S{29}$", generated.text, re.MULTILINE)[0]
    assert ann.log_in().logged_in


def test_ctrl_c_at_a_prompt_exits_with_130(open_terminal, ann):
    screen = open_terminal(
        "login", "--user", ann.name, "--password-stdin"
    )  # standard input is a terminal, so the command prompts
    screen.wait_for("Password for")
    screen.type(CTRL_C)
    assert screen.wait_for_exit() == 130
    assert screen.text.endswith("Interrupted.")


def test_required_password_change_is_done_at_login(open_terminal, ann, live):
    with sqlite3.connect(live.database, timeout=10) as db:
        db.execute(
            "UPDATE accounts SET must_change_since = created_at WHERE username = ?", [ann.name]
        )
    screen = open_terminal("login", "--user", ann.name)
    for question, answer in [
        ("Password for", PASSWORD),
        ("New password:$", NEW),
        ("Confirm new password:$", NEW),
    ]:
        screen.wait_for(question)
        screen.type(f"{answer}\n")
    assert screen.wait_for_exit() == 0
    assert f"as {ann.name}." in screen.text


def test_device_login_shows_code_and_countdown(open_terminal, ann, live, store):
    screen = open_terminal("login", "--device", "--message", "nightly backup")
    screen.wait_for(r"Waiting for approval, 9:5\d left\. Ctrl-C cancels\.")  # written last
    code = screen.wait_for(CODE)[1]
    assert re.search(
        rf"Open:  {re.escape(live.url)}\S+/login/activate|Open: +\S+/login/activate", screen.text
    )
    words = re.search(r"^Words: (\S+ \S+ \S+)$", screen.text, re.MULTILINE)[1]
    assert "For:   nightly backup" in screen.text
    assert set("█▀▄") & set(screen.text), "the QR code"
    first = screen.wait_for(r"9:5\d")[0]
    screen.wait_for(rf"9:5(?!{first[-1]})\d")  # the countdown runs
    assert PASSWORD.encode() not in read_command_line(screen.process)
    assert b"dwl_" not in read_command_line(screen.process)
    with sqlite3.connect(live.database, timeout=10) as db:
        assert db.execute(
            "SELECT client_name FROM login_sessions WHERE check_phrase = ?", [words]
        ).fetchone() == ("doorward",)
    assert ann.approve(code) == 200
    assert screen.wait_for_exit() == 0
    assert re.search(
        rf"Approved\.\nLogged in at {re.escape(live.url)} as\s*{ann.name}", screen.text
    )
    assert "Waiting" not in screen.text  # the line was removed
    assert Doorward(live.url).login.from_store().username == ann.name


def test_denied_login_exits_with_4(open_terminal, ann):
    screen = open_terminal("login", "--device", "--no-qr")
    code = screen.wait_for(CODE)[1]
    assert "█" not in screen.text
    assert ann.approve(code, word="deny") == 200
    assert screen.wait_for_exit() == 4
    assert "denied" in screen.text


def test_ctrl_c_cancels_the_device_login(open_terminal, live, store):
    screen = open_terminal("login", "--device", "--message", "taken back")
    screen.wait_for("Ctrl-C cancels")
    screen.type(CTRL_C)
    assert screen.wait_for_exit() == 130
    assert "\nLogin canceled. The code cannot be used any more.\nInterrupted." in screen.text
    assert get_login_state(live, "taken back") == "cancelled"
    assert not store.exists()


def test_sighup_cancels_the_device_login(open_terminal, live):
    screen = open_terminal("login", "--device", "--message", "closed window")
    screen.wait_for("Ctrl-C cancels")
    screen.process.send_signal(signal.SIGHUP)
    assert screen.wait_for_exit() == 128 + signal.SIGHUP
    assert get_login_state(live, "closed window") == "cancelled"


def test_unapproved_login_exits_with_7(open_terminal, live):
    screen = open_terminal("login", "--timeout", "1s", "--device", "--message", "too late")
    assert screen.wait_for_exit() == 7
    assert "was not approved" in screen.text
    assert get_login_state(live, "too late") == "cancelled"


@pytest.mark.parametrize(
    ("env", "why"),
    [
        (
            {"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22", "PYTHONIOENCODING": "ascii"},
            "this is an SSH session",
        ),
        (
            {"DISPLAY": "", "WAYLAND_DISPLAY": "", "BROWSER": "", "TERM": "dumb"},
            "this machine has no display",
        ),
    ],
)
def test_device_login_is_chosen_over_ssh_and_without_display(open_terminal, env, why):
    screen = open_terminal("login", "--timeout", "1s", **env)
    assert screen.wait_for_exit() == 7
    assert f"Approve the login on another device, because {why}." in screen.text
    assert "█" not in screen.text  # neither of these can show it
    if env.get("TERM") == "dumb":
        assert b"\x1b" not in screen.raw


def test_no_color_and_small_terminal_are_respected(open_terminal):
    screen = open_terminal(
        "login", "--device", "--timeout", "1s", NO_COLOR="1", columns=60, lines=20
    )
    assert screen.wait_for_exit() == 7
    assert not re.search(rb"\x1b\[\d*m", screen.raw)
    assert "█" not in screen.text
    assert max(len(line) for line in screen.text.splitlines()) <= 60


def test_device_login_in_a_pipe(ann, live, store):
    """No escape sequences are written, and only data goes to standard output."""
    process = subprocess.Popen(
        [*COMMAND, "login", "--url", live.url, "-o", "json", "--expires", "1h"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=build_environment(DISPLAY=":0"),
        text=True,
    )
    with process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("Waiting"):
                break
        code = re.search(CODE, "".join(lines))
        approving = threading.Thread(target=ann.approve, args=(code[1] if code else "",))
        approving.start()
        try:
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
        approving.join(20)
    assert process.returncode == 0, err
    found = json.loads(out)
    assert found["username"] == ann.name
    left = datetime.fromisoformat(found["session_expires_at"]) - datetime.now(UTC)
    assert 3500 < left.total_seconds() <= 3600
    assert lines[0].startswith(
        "Approve the login on another device, because standard input is not a terminal"
    )
    assert err.startswith("Approved.\nLogged in at")
    assert "\x1b" not in "".join(lines) + err


def test_closed_pipe_prints_no_traceback(ann, live):
    ann.log_in().session.to_store()
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [*COMMAND, "sessions", "--url", live.url],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=build_environment(),
        text=True,
        timeout=20,
        check=False,
    )
    os.close(writing)
    assert "Traceback" not in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_key_that_cannot_be_printed_is_reported(ann, live):
    client = ann.log_in()
    client.session.to_store()
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [*COMMAND, "keys", "create", "nightly", "--url", live.url],
            stdout=full,
            stderr=subprocess.PIPE,
            env=build_environment(),
            text=True,
            timeout=20,
            check=False,
        )
    lost = f"The secret of the API key 'nightly' could not be printed and is lost. Rotate or delete {client.keys.list()[0].id}."
    assert (result.returncode, result.stderr) == (
        1,
        f"{lost}\nError: Cannot write to standard output: No space left on device.\n",
    )


def test_help_is_fast_and_imports_no_http_library():
    script = (
        "import sys, time\nfrom doorward.cli.main import cli\ncli.main(['--help'], standalone_mode=False)\n"
        "print(sorted(set(sys.modules) & {'httpx2', 'ssl', 'keyring', 'segno', 'platformdirs'}), time.process_time())"
    )
    result = subprocess.run(
        [COMMAND[0], "-c", script],
        env=build_environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    loaded, seconds = result.stdout.splitlines()[-1].rsplit(" ", 1)
    assert loaded == "[]"
    assert float(seconds) < 1, "it takes about 0.1 s of CPU"
