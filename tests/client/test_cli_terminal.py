"""The command line as a person at a terminal has it: asked without an echo, shown a code, waiting, and interrupted."""

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
from tests.client.conftest import environment
from tests.client.terminal import COMMAND, CTRL_C, Terminal

CODE = r"Enter ([B-Z]{4}-[B-Z]{4})"
NEW = "another battery staple horse"


@pytest.fixture
def terminal(monkeypatch, live):
    """Opens terminals, with the service in DOORWARD_URL."""
    made = []
    monkeypatch.setenv("DOORWARD_URL", live.url)

    def open_one(*words: str, **parts) -> Terminal:
        made.append(Terminal(*words, **parts))
        return made[-1]

    yield open_one
    for one in made:
        one.close()


def state_of(live, message: str) -> str:
    with sqlite3.connect(live.database, timeout=10) as db:
        return db.execute(
            "SELECT state FROM login_sessions WHERE login_message = ?", [message]
        ).fetchone()[0]


def shown_to_others(process: subprocess.Popen) -> bytes:
    """What the list of processes says of it."""
    return Path(f"/proc/{process.pid}/cmdline").read_bytes()


def test_somebody_is_asked_for_name_and_password_and_nothing_is_echoed(terminal, ann, live, store):
    there = terminal("login")
    there.sees("Username or address:$")
    there.types(f"{ann.name}\n")
    there.sees(f"Password of {ann.name}:$")
    there.types(f"{PASSWORD}\n")
    assert there.ends() == 0
    assert f"Logged in at {live.url} as {ann.name}." in there.text
    assert PASSWORD.encode() not in there.raw
    assert Doorward(live.url).login.from_store().username == ann.name


def test_the_password_is_asked_once_more_where_the_service_wants_it(terminal, ann, live):
    client = ann.logged_in()
    client.session.to_store()
    with sqlite3.connect(live.database, timeout=10) as db:
        db.execute("UPDATE sessions SET auth_time = NULL WHERE id = ?", [client.session.session_id])
    client.session.refresh()
    there = terminal("keys", "create", "nightly")
    there.sees(f"once more for this.\nPassword of {ann.name}:$")
    there.types(f"{PASSWORD}\n")
    assert there.ends() == 0
    assert re.search(r"dwk_\w+", there.text.replace("\n", ""))
    assert PASSWORD.encode() not in there.raw


def test_a_new_password_is_asked_for_twice(terminal, ann):
    ann.logged_in().session.to_store()
    there = terminal("password", "change")
    for question, answer in [
        ("Present password:$", PASSWORD),
        ("New password:$", NEW),
        ("The new password again:$", NEW),
    ]:
        there.sees(question)
        there.types(f"{answer}\n")
    assert there.ends() == 0
    assert NEW.encode() not in there.raw
    made_up = terminal("password", "change", "--generate")
    made_up.sees("Present password:$")
    made_up.types(f"{NEW}\n")
    assert made_up.ends() == 0
    ann.password = re.search(r"^\S{29}$", made_up.text, re.MULTILINE)[0]
    assert ann.logged_in().logged_in


def test_ctrl_c_at_a_question_ends_with_130(terminal, ann):
    there = terminal(
        "login", "--user", ann.name, "--password-stdin"
    )  # typed and not piped: it is asked for all the same
    there.sees("Password of")
    there.types(CTRL_C)
    assert there.ends() == 130
    assert there.text.endswith("Interrupted.")


def test_a_password_that_must_be_changed_is_changed_at_once(terminal, ann, live):
    with sqlite3.connect(live.database, timeout=10) as db:
        db.execute(
            "UPDATE accounts SET must_change_since = created_at WHERE username = ?", [ann.name]
        )
    there = terminal("login", "--user", ann.name)
    for question, answer in [
        ("Password of", PASSWORD),
        ("New password:$", NEW),
        ("The new password again:$", NEW),
    ]:
        there.sees(question)
        there.types(f"{answer}\n")
    assert there.ends() == 0
    assert f"as {ann.name}." in there.text


def test_a_login_waits_for_another_device_and_counts_down(terminal, ann, live, store):
    there = terminal("login", "--device", "--message", "nightly backup")
    there.sees(r"Waiting for approval, 9:5\d left; Ctrl-C cancels\.")  # which is written last
    code = there.sees(CODE)[1]
    assert re.search(
        rf"Open  {re.escape(live.url)}\S+/login/activate|Open +\S+/login/activate", there.text
    )
    words = re.search(r"^Words (\S+ \S+ \S+)$", there.text, re.MULTILINE)[1]
    assert "For: nightly backup" in there.text
    assert set("█▀▄") & set(there.text), "the QR code"
    first = there.sees(r"9:5\d")[0]
    there.sees(rf"9:5(?!{first[-1]})\d")  # it is alive
    assert PASSWORD.encode() not in shown_to_others(there.process)
    assert b"dwl_" not in shown_to_others(there.process)
    with sqlite3.connect(live.database, timeout=10) as db:
        assert db.execute(
            "SELECT client_name FROM login_sessions WHERE check_phrase = ?", [words]
        ).fetchone() == ("doorward",)
    assert ann.approve(code) == 200
    assert there.ends() == 0
    assert re.search(rf"Approved\.\nLogged in at {re.escape(live.url)} as\s*{ann.name}", there.text)
    assert "Waiting" not in there.text  # the line is gone
    assert Doorward(live.url).login.from_store().username == ann.name


def test_a_login_that_is_denied_ends_with_4(terminal, ann):
    there = terminal("login", "--device", "--no-qr")
    code = there.sees(CODE)[1]
    assert "█" not in there.text
    assert ann.approve(code, word="deny") == 200
    assert there.ends() == 4
    assert "denied" in there.text


def test_ctrl_c_takes_the_request_back(terminal, live, store):
    there = terminal("login", "--device", "--message", "taken back")
    there.sees("Ctrl-C cancels")
    there.types(CTRL_C)
    assert there.ends() == 130
    assert "\nThe login is given up: the code opens nothing any more.\nInterrupted." in there.text
    assert state_of(live, "taken back") == "cancelled"
    assert not store.exists()


def test_so_does_the_end_of_the_window(terminal, live):
    there = terminal("login", "--device", "--message", "closed window")
    there.sees("Ctrl-C cancels")
    there.process.send_signal(signal.SIGHUP)
    assert there.ends() == 128 + signal.SIGHUP
    assert state_of(live, "closed window") == "cancelled"


def test_a_login_that_nobody_approves_in_time_ends_with_7(terminal, live):
    there = terminal("login", "--timeout", "1s", "--device", "--message", "too late")
    assert there.ends() == 7
    assert "Nobody approved the login" in there.text
    assert state_of(live, "too late") == "cancelled"


@pytest.mark.parametrize(
    ("env", "why"),
    [
        (
            {"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22", "PYTHONIOENCODING": "ascii"},
            "this terminal is on another machine",
        ),
        (
            {"DISPLAY": "", "WAYLAND_DISPLAY": "", "BROWSER": "", "TERM": "dumb"},
            "this machine has no display",
        ),
    ],
)
def test_another_device_is_chosen_by_itself(terminal, env, why):
    there = terminal("login", "--timeout", "1s", **env)
    assert there.ends() == 7
    assert f"Approve the login on another device, since {why}." in there.text
    assert "█" not in there.text  # which neither of these can show
    if env.get("TERM") == "dumb":
        assert b"\x1b" not in there.raw


def test_no_color_means_none_and_a_small_terminal_has_no_picture(terminal):
    there = terminal("login", "--device", "--timeout", "1s", NO_COLOR="1", columns=60, lines=20)
    assert there.ends() == 7
    assert not re.search(rb"\x1b\[\d*m", there.raw)
    assert "█" not in there.text
    assert max(len(line) for line in there.text.splitlines()) <= 60


def test_in_a_pipe_one_line_says_that_it_waits(ann, live, store):
    """What a program that starts this one reads: no escape sequences, data on standard output alone."""
    process = subprocess.Popen(
        [*COMMAND, "login", "--url", live.url, "-o", "json", "--expires", "1h"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(DISPLAY=":0"),
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
    assert lines[0].startswith("Approve the login on another device, since nobody can be asked")
    assert err.startswith("Approved.\nLogged in at")
    assert "\x1b" not in "".join(lines) + err


def test_a_pipe_that_closes_is_no_traceback(ann, live):
    ann.logged_in().session.to_store()
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, "sessions", "--url", live.url],
        stdout=writing,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
        timeout=20,
        check=False,
    )
    os.close(writing)
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is full")
def test_a_key_that_cannot_be_printed_is_said_to_be_lost(ann, live):
    client = ann.logged_in()
    client.session.to_store()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, "keys", "create", "nightly", "--url", live.url],
            stdout=full,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
            timeout=20,
            check=False,
        )
    lost = f"The secret of the key 'nightly' is lost, since it could not be printed: rotate or delete {client.keys.list()[0].id}."
    assert (done.returncode, done.stderr) == (
        1,
        f"{lost}\nError: Standard output cannot be written to: No space left on device.\n",
    )


def test_help_is_quick_and_needs_no_library_for_http():
    script = (
        "import sys, time\nfrom doorward.cli.main import cli\ncli.main(['--help'], standalone_mode=False)\n"
        "print(sorted(set(sys.modules) & {'httpx2', 'ssl', 'keyring', 'segno', 'platformdirs'}), time.process_time())"
    )
    done = subprocess.run(
        [COMMAND[0], "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    loaded, seconds = done.stdout.splitlines()[-1].rsplit(" ", 1)
    assert loaded == "[]"
    assert float(seconds) < 1, "it takes about 0.1 s of CPU"
