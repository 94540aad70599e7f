"""The command line in scripts and pipes: output and exit codes."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import stat
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from doorward import Doorward, InstanceAuthSessions, NotLoggedInError
from doorward.cli.exit_codes import MEANINGS
from tests.actors import PASSWORD
from tests.client.conftest import register_user
from tests.client.fake_server import HTML, TOKENS, Reply
from tests.client.run_cli import Result, run_doorward

SENTENCE = re.compile(r"([A-Z]|http://127).+[.\w)]$")
NEW = "another battery staple horse"


@pytest.fixture
def stored_client(ann, monkeypatch) -> Doorward:
    """A client of ann whose session is in the store."""
    client = ann.log_in(device_name="attic")
    client.session.to_store()
    monkeypatch.setenv("DOORWARD_URL", ann.live.url)
    return client


# Login and logout.


def test_piped_password_logs_in_and_stores_the_session(ann, live, store):
    piped = f"\ufeff{PASSWORD}\r\nmore\n"  # as some Windows shells write it
    result = run_doorward(
        "login",
        "--url",
        live.url,
        "--user",
        ann.name,
        "--password-stdin",
        "--expires",
        "12h",
        stdin=piped,
    )
    assert (result.code, result.out) == (0, "")
    assert re.search(
        rf"Logged in at {re.escape(live.url)} as {ann.name}\.\nThe session expires on \d{{4}}-\d\d-\d\d \d\d:\d\d\.",
        result.err,
    )
    assert PASSWORD not in result.err
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    found = Doorward(live.url).login.from_store()
    assert found.username == ann.name
    assert (
        run_doorward("whoami", "-o", "json").json["username"] == ann.name
    )  # the only service in the store


def test_login_prints_when_the_session_expires(ann, live):
    for expires, expected in [
        (["--expires", "12h"], r"\.$"),
        (["--expires", "29d"], r", unless you use it before then, and on \S+ \S+ at the latest\.$"),
        ([], ", unless you use it before then.$"),
    ]:
        result = run_doorward(
            "login",
            "--url",
            live.url,
            "--user",
            ann.name,
            "--password-stdin",
            *expires,
            stdin=PASSWORD,
        )
        assert re.search(
            rf"The session expires on [0-9-]+ [0-9:]+{expected}", result.err.strip()
        ), result.err


def test_login_prints_json(ann, live, store):
    result = run_doorward(
        "login",
        "--url",
        live.url,
        "--password-stdin",
        "--expires",
        "1h",
        "-o",
        "json",
        stdin=PASSWORD,
        DOORWARD_USER=f"{ann.name}@example.org",
    )
    assert result.code == 0, result.err
    found = result.json
    assert (found["url"], found["username"], found["store"]) == (live.url, ann.name, str(store))
    left = datetime.fromisoformat(found["session_expires_at"]) - datetime.now(UTC)
    assert 3500 < left.total_seconds() <= 3600
    assert ann.name in result.err
    assert not [word for word in ("token", "dwt_", PASSWORD) if word in result.out]


def test_wrong_password_exits_with_4(ann, live, store):
    result = run_doorward(
        "login",
        "--url",
        live.url,
        "--user",
        ann.name,
        "--password-stdin",
        stdin="wrong horse battery staple\n",
    )
    assert (result.code, result.out) == (4, "")
    assert "wrong horse" not in result.err
    assert not store.exists()


@pytest.mark.parametrize("stdin", ["", "\n", b"\xff\xfe\n", "x" * 5000])
def test_invalid_piped_password_is_rejected(stdin):
    result = run_doorward(
        "login", "--url", "http://127.0.0.1:9", "--user", "ann", "--password-stdin", stdin=stdin
    )
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 2  # the service, and the error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--password", "hunter2"], "Do not pass a password as an argument"),
        (["--password=hunter2"], "Do not pass a password as an argument"),
        (["--password-stdin=hunter2"], "does not take a value"),
        (["hunter2"], "Do not pass a password as an argument"),
        (["-p", "hunter2"], "No such option"),
        (["--passwd=hunter2"], "No such option"),
        (["--device", "--password"], "Use only one of"),
        (["--device", "--expires", "2 days"], "12h or 30d, or a date"),
        (["--password-stdin", "--message", "x"], "--message only with --device"),
        (["--password-stdin", "--expires", "2 days"], "12h or 30d, or a date"),
        (["--password-stdin", "--expires", "366d"], "at most one year"),
        (["--password-stdin", "--expires", "2020-01-31"], "must be in the future"),
        (["--password-stdin", "--expires", "9999-12-31"], "too far in the future"),
        (["--password-stdin", "--expires", "0s"], "must be greater than zero"),
        (["--timeout", "soon"], "12h or 30d"),
    ],
)
def test_usage_errors_do_not_repeat_passwords(words, message):
    result = run_doorward("login", "--url", "http://127.0.0.1:1", *words)
    assert (result.code, result.out) == (2, "")
    assert message in " ".join(result.err.split())
    assert "hunter2" not in result.err


def test_logout_removes_the_session(ann, stored_client, store):
    result = run_doorward("logout")
    assert (result.code, result.err) == (
        0,
        f"Logged out {ann.name} at {stored_client.url}.\n",
    )  # the name matters if several users are logged in
    assert run_doorward("whoami").code == 3
    assert "ann" not in store.read_text()
    again = run_doorward("logout")
    assert (again.code, again.err) == (0, "You are not logged in.\n")


def test_logout_all_ends_other_sessions(ann, stored_client):
    other = ann.log_in()
    assert run_doorward("logout", "--all").code == 0
    with pytest.raises(NotLoggedInError):
        other.validate()
    assert run_doorward("logout", "--all").code == 3


# What is there.


def test_whoami_has_three_formats(ann, stored_client):
    table, found = run_doorward("whoami"), run_doorward("whoami", "-o", "json").json
    assert ann.name in table.out
    assert re.search(r"^Credential +session ses_", table.out, re.MULTILINE)
    assert set(found) == {
        "url",
        "account_id",
        "username",
        "kind",
        "scopes",
        "roles",
        "session_id",
        "key_id",
        "expires_at",
    }
    assert (found["url"], found["username"], found["kind"], found["scopes"]) == (
        stored_client.url,
        ann.name,
        "session",
        [],
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["expires_at"])
    assert yaml.safe_load(run_doorward("whoami", "-o", "yaml").out) == found


def test_sessions_are_listed_and_revoked(ann, stored_client):
    other = ann.log_in(device_name="a device " + "of a very long name " * 2)
    table = run_doorward("sessions")
    assert max(map(len, table.out.splitlines())) <= 80
    assert re.search(
        rf"^{stored_client.session.session_id}  this device: attic ", table.out, re.MULTILINE
    )
    found = run_doorward("sessions", "-o", "json").json
    assert (
        found
        == run_doorward("sessions", "list", "-o", "json").json
        == yaml.safe_load(run_doorward("sessions", "-o", "yaml").out)
    )
    assert [(one["id"], one["current"]) for one in found] == [
        (other.session.session_id, False),
        (stored_client.session.session_id, True),
    ]
    assert run_doorward("sessions", "end", other.session.session_id).code == 0
    assert len(run_doorward("sessions", "-o", "json").json) == 1
    unknown = run_doorward("sessions", "end", other.session.session_id + "x")
    assert (unknown.code, unknown.out) == (1, "")


def test_hostile_names_do_not_control_the_terminal(fake_server):
    hostile = "\x1b[2J\x07\u202e\x9b31m" + "漢字" * 40
    session = {
        "id": "ses_1",
        "device_name": hostile,
        "last_address": hostile,
        "current": True,
        "expires_at": "2027-01-31T00:00:00Z",
    }
    server = fake_server(Reply({"items": [session, {**session, "last_used_at": "now", "id": 7}]}))
    for form in ("table", "json", "yaml"):
        result = run_doorward("sessions", "--url", server.url, "-o", form, DOORWARD_TOKEN="dwk_x")
        assert (result.code, result.err) == (0, "")
        assert not set(result.out) & set("\x1b\x07\x9b\u202e")
        assert form == "table" or result.out.isascii()
    hostile_fields = dict.fromkeys(
        (
            "id",
            "username",
            "name",
            "version",
            "user_code",
            "check_phrase",
            "login_message",
            "account_id",
            "key_id",
        ),
        hostile,
    )
    more = {
        **TOKENS,
        **hostile_fields,
        "roles": [hostile],
        "device_code": "dwl_x",
        "verification_uri": "https://auth.example.com/\x1b[2J",
        "interval": 0,
    }
    run_failing_logins = fake_server(
        Reply({**more, "account": hostile_fields, "session": hostile_fields, "key": "dwk_x\x1b[2J"})
    )
    for words, code in [(("login", "-u", "ann", "--password-stdin"), 0), (("login", "--device"), 0), (("roles",), 0), (("status",), 0),
                        (("sessions",), 0), (("keys", "create", "x"), 5), (("logout",), 0)]:  # fmt: skip
        result = run_doorward(*words, "--url", run_failing_logins.url, stdin="x")
        assert (result.code, set(result.out + result.err) & set("\x1b\x07\x9b\u202e")) == (
            code,
            set(),
        ), result
    nothing = fake_server(Reply({"items": []}))
    assert run_doorward("sessions", "--url", nothing.url, DOORWARD_TOKEN="dwk_x") == Result(
        0, "", "No sessions.\n"
    )
    table = run_doorward("sessions", "--url", server.url, DOORWARD_TOKEN="dwk_x").out.splitlines()
    assert max(len(line) + len(re.findall("[漢字]", line)) for line in table) <= 80


def test_end_others_keeps_this_session(ann, stored_client):
    ann.log_in()
    assert run_doorward("sessions", "end-others").code == 0
    assert [one["id"] for one in run_doorward("sessions", "-o", "json").json] == [
        stored_client.session.session_id
    ]


def test_ending_the_current_session_removes_it(stored_client, store):
    assert run_doorward("sessions", "end", stored_client.session.session_id).code == 0
    assert stored_client.session.session_id not in store.read_text()


def test_roles_are_listed(stored_client):
    assert run_doorward("roles").err == "No roles.\n"
    assert run_doorward("roles", "-o", "json").json == []
    account = stored_client.whoami().account_id
    assert (
        run_doorward("roles", account, "--resource", "list", "--id", "7", "-o", "json").json == []
    )
    assert run_doorward("roles", "--resource", "list").code == 2
    assert run_doorward("roles", "acc_unknown").code in {1, 4}


# Keys.


def test_new_key_is_the_only_output_and_works(stored_client, ann):
    made = run_doorward("keys", "create", "nightly build", "--expires", "30d")
    assert made.code == 0, made.err
    assert re.fullmatch(r"dwk_\w+\n", made.out)
    key = made.out.strip()
    assert key not in made.err
    assert "'nightly build'" in made.err
    found = run_doorward("whoami", "-o", "json", DOORWARD_TOKEN=key).json
    assert (found["kind"], found["username"], found["session_id"]) == ("api_key", ann.name, "")
    assert found["key_id"] in made.err
    listed = run_doorward("keys", "-o", "json")
    assert [(one["id"], one["name"]) for one in listed.json] == [(found["key_id"], "nightly build")]
    assert key not in listed.out
    assert re.search(
        rf"^{found['key_id']}  nightly build .* in 30 d$", run_doorward("keys").out, re.MULTILINE
    )
    assert run_doorward("keys", "create", "nightly build").code == 1  # the name is taken

    rotated = run_doorward("keys", "rotate", found["key_id"], "--overlap", "0s", "-o", "json")
    assert rotated.json["key"].startswith("dwk_")
    assert rotated.json["key"] != key
    assert rotated.json["key"] not in rotated.err
    assert run_doorward("whoami", DOORWARD_TOKEN=key).code == 3
    assert run_doorward("logout", DOORWARD_TOKEN=rotated.json["key"]).code == 2
    assert (
        run_doorward("keys", "create", "for ever", "--expires", "never").code == 2
    )  # only administrators may
    assert run_doorward("keys", "delete", found["key_id"]).code == 0
    assert run_doorward("keys", "list", "-o", "json").json == []
    assert "keys create" in run_doorward("keys").err
    assert run_doorward("whoami", DOORWARD_TOKEN=rotated.json["key"]).code == 3


def test_reauthentication_without_terminal_says_what_to_do(stored_client, live):
    """A session from a device login has never entered a password."""
    with sqlite3.connect(live.database, timeout=10) as db:
        db.execute(
            "UPDATE sessions SET auth_time = NULL WHERE id = ?", [stored_client.session.session_id]
        )
    stored_client.session.refresh()
    result = run_doorward("keys", "create", "x")
    assert (result.code, result.out) == (4, "")
    assert "--password-stdin" in result.err


# The password.


def test_piped_password_change_keeps_the_session(ann, stored_client):
    other = ann.log_in()
    result = run_doorward("password", "change", "--stdin", stdin=f"{PASSWORD}\n{NEW}\n{NEW}\n")
    assert (result.code, result.out) == (0, ""), result.err
    assert run_doorward("whoami").code == 0
    with pytest.raises(NotLoggedInError):
        other.validate()
    ann.password = NEW
    assert ann.log_in().logged_in


def test_generated_password_is_printed_once(ann, stored_client):
    wrong = run_doorward("password", "change", "--generate", "--stdin", stdin=f"wrong\n{NEW}\n")
    assert (wrong.code, wrong.out) == (4, "")
    result = run_doorward("password", "change", "--generate", "--stdin", stdin=PASSWORD)
    assert (
        result.code,
        bool(re.fullmatch(r"([a-km-np-z2-9]{5}-){4}[a-km-np-z2-9]{5}\n", result.out)),
    ) == (0, True), result.err
    ann.password = result.out.strip()
    assert ann.password not in result.err
    assert ann.log_in().logged_in


def test_generated_password_is_printed_before_the_change(fake_server):
    """In the other order, a password that could not be printed would lock the user out."""
    uncertain, unchanged = "may or may not have been changed", "was not changed"
    for status, code, expected in [
        (503, 5, uncertain),
        (200, 5, uncertain),
        (302, 5, uncertain),
        (429, 6, unchanged),
        (404, 5, unchanged),
    ]:
        answers = {
            "/v1/elevate": [Reply(TOKENS)],
            "/v1/methods": [Reply({"policies": {"password_min_length": 40}})],
            "/v1/password/change": [Reply({}, status)],
        }
        server = fake_server(Reply({}), routes=answers)
        result = run_doorward(
            "password",
            "change",
            "--generate",
            "--stdin",
            "--url",
            server.url,
            stdin="x",
            DOORWARD_TOKEN="x.y.z",
        )
        assert (result.code, len(result.out)) == (code, 42)
        assert expected in result.err
        assert result.out.strip() not in result.err


def test_rejected_password_change_prints_reasons(stored_client):
    for stdin, code, expected in [
        (f"{PASSWORD}\npassword123456789\n", 2, "The new password was not accepted:\n- it "),
        (f"wrong\n{NEW}\n", 4, "current password is wrong"),
        (f"{PASSWORD}\n{NEW}\n{NEW}x\n", 2, "do not match"),
        (f"{PASSWORD}\n", 2, "on line 1"),
        ("", 2, "on line 1"),
    ]:
        result = run_doorward("password", "change", "--stdin", stdin=stdin)
        assert (result.code, result.out) == (code, "")
        assert expected in result.err
        assert PASSWORD not in result.err


def test_passwords_are_not_accepted_as_arguments(stored_client):
    result = run_doorward("password", "change", "hunter2", "hunter3")
    assert result.code == 2
    assert "as an argument" in " ".join(result.err.split())
    assert "hunter" not in result.err
    result = run_doorward("password", "hunter2")
    assert (result.code, "hunter" in result.err, "as an argument" in result.err) == (2, False, True)
    assert run_doorward("password", "change").code == 2  # there is no terminal


# For scripts.


def test_token_is_the_only_output_and_valid(stored_client, live):
    result = run_doorward("token")
    assert (result.code, result.err) == (0, "")
    assert result.out.count("\n") == 1
    status, found = live.call(
        "GET", "/v1/whoami", headers={"Authorization": f"Bearer {result.out.strip()}"}
    )
    assert (status, found["session_id"]) == (200, stored_client.session.session_id)


def test_doorward_token_is_used_only_for_its_service(
    ann, stored_client, live, fake_server, monkeypatch
):
    other = ann.log_in()
    monkeypatch.setenv("DOORWARD_TOKEN", other.token)
    assert run_doorward("token").out.strip() == other.token
    assert run_doorward("whoami", "-o", "json").json["session_id"] == other.session.session_id
    assert (
        run_doorward("whoami", "-o", "json", "--user", ann.name).json["session_id"]
        == stored_client.session.session_id
    )  # an option takes precedence
    other_server = fake_server(Reply({}))
    assert run_doorward("whoami", "--url", other_server.url) == Result(
        3, "", f"You are not logged in to {other_server.url}. Run: doorward login\n"
    )
    assert other_server.seen == []  # the token is only for DOORWARD_URL
    odd = run_doorward("whoami", DOORWARD_TOKEN=f"{other.token}\r")
    assert (odd.code, odd.err) == (
        2,
        "DOORWARD_TOKEN is not a valid token or key. Set it exactly as issued, or unset it.\n",
    )
    monkeypatch.delenv("DOORWARD_URL")
    assert run_doorward("whoami", "--url", live.url).code == 0
    InstanceAuthSessions().save()
    nowhere = run_doorward("whoami", DOORWARD_STORE=os.devnull + "-none")
    assert nowhere.code == 3
    assert "DOORWARD_URL" in nowhere.err


def test_status_reports_service_and_login(ann, stored_client, live, store):
    result = run_doorward("status", "-o", "json")
    found = result.json
    assert (result.code, found["url"], found["reachable"], found["username"], found["store"]) == (
        0,
        live.url,
        True,
        ann.name,
        str(store),
    )
    assert (found["service"], found["version"]) == ("doorward", stored_client.get_version().version)
    assert abs(found["clock_skew_seconds"]) < 5
    table = run_doorward("status")
    assert re.search(rf"^Logged in +{ann.name}$", table.out, re.MULTILINE)
    stored_client.logout()
    logged_out = run_doorward("status", "-o", "json")
    assert (logged_out.code, logged_out.json["reachable"], logged_out.json["username"]) == (
        3,
        True,
        None,
    )
    sessions = InstanceAuthSessions.load()
    sessions.insert("http://127.0.0.1:9", "bob", "x.y.z", datetime.now(UTC) + timedelta(minutes=5))
    sessions.save()
    away = run_doorward("status", "-o", "json", DOORWARD_URL="http://127.0.0.1:9")
    assert away.json["username"] == "bob"
    assert (away.code, away.json["reachable"]) == (5, False)
    assert (
        run_doorward("status", DOORWARD_URL=None, DOORWARD_STORE=str(store.parent / "none")).code
        == 3
    )


def test_status_shows_every_service(ann, stored_client, live):
    sessions = InstanceAuthSessions.load()
    sessions.insert("http://127.0.0.1:9", "bob", "x.y.z", datetime.now(UTC) + timedelta(minutes=5))
    sessions.save()
    both = run_doorward("status", "-o", "json", DOORWARD_URL=None)
    assert [(one["url"], one["reachable"], one["username"]) for one in both.json] == [
        (live.url, True, ann.name),
        ("http://127.0.0.1:9", False, "bob"),
    ]
    assert (both.code, both.err) == (
        5,
        "Cannot connect to http://127.0.0.1:9. Check the URL and the network.\n",
    )
    assert run_doorward("status", DOORWARD_URL=None).out.count("\nLogged in ") == 2
    assert (
        run_doorward("status", "-o", "json", "--user", ann.name, DOORWARD_URL=None).json["url"]
        == live.url
    )
    ann.log_in().logout_all()
    over = run_doorward("status", DOORWARD_URL=None)
    assert (over.code, over.err.splitlines()[0]) == (
        3,
        f"{live.url}: The session has ended. Run: doorward login",
    )


def test_use_of_doorward_token_is_shown(stored_client, ann):
    for token in (stored_client.token, stored_client.keys.create("robot").key.reveal()):
        status = run_doorward("status", DOORWARD_TOKEN=token).out
        assert re.search(
            rf"^Logged in +{ann.name}\nCredential +DOORWARD_TOKEN$", status, re.MULTILINE
        ), status
        assert re.search(
            r"^Credential +(session|key) \w+ in DOORWARD_TOKEN$",
            run_doorward("whoami", DOORWARD_TOKEN=token).out,
            re.MULTILINE,
        )
    assert "DOORWARD_TOKEN" not in run_doorward("status").out + run_doorward("whoami").out


# What goes wrong.


def test_each_failure_has_an_exit_code_and_one_line(stored_client, fake_server, ann, live):
    limited = fake_server(
        Reply({"code": "too_many_requests", "status": 429}, 429, {"Retry-After": "599"})
    )
    page = fake_server(HTML)
    another = fake_server(
        Reply({"detail": "Not Found"}, 404)
    )  # another service that answers in JSON
    moved = fake_server(
        Reply({}, 302, {"Location": "https://elsewhere.example/auth/v1/login?next=1"})
    )
    sessions = InstanceAuthSessions.load()
    sessions.insert("http://127.0.0.1:9", "bob", "x.y.z", datetime.now(UTC) + timedelta(minutes=5))
    sessions.save()
    two = run_doorward("whoami", DOORWARD_URL=None)
    assert (two.code, two.err) == (
        2,
        f"There are sessions at {live.url}, http://127.0.0.1:9. Pass --url, or set DOORWARD_URL.\n",
    )
    broken = fake_server(
        Reply({"code": "internal", "request_id": "req_1"}, 500, {"Retry-After": "60"})
    )
    login = ("login", "--user", ann.name, "--password-stdin", "--url")
    for words, code in [
        ((*login, limited.url), 6),
        ((*login, page.url), 5),
        ((*login, moved.url), 5),
        ((*login, broken.url), 5),
        ((*login, "http://127.0.0.1:9"), 5),
        ((*login, f"{ann.live.url}/below"), 5),
        (("status", "--url", f"{ann.live.url}/below", "-o", "yaml"), 5),
        ((*login, another.url), 5),
        ((*login, "http://auth.example.com"), 2),
        ((*login, "ftp://auth.example.com"), 2),
        (("whoami", "--url", "https://auth.example.com"), 3),
        (("whoami", "--user", "bob"), 3),
    ]:
        result = run_doorward(*words, stdin="x\n")
        expected = [line for line in result.err.splitlines() if not line.startswith("Log in at")]
        assert (result.code, len(expected)) == (code, 1), result.err
        assert SENTENCE.match(expected[0])
        assert "allow_http" not in expected[0]
        assert "client.login" not in expected[0]
        assert code in MEANINGS
    assert "Try again in 10 min." in run_doorward(*login, limited.url, stdin="x\n").err
    assert (
        "redirects to https://elsewhere.example/auth. Nothing was sent there."
        in run_doorward(*login, moved.url, stdin="x\n").err
    )
    assert "(request req_1)" in run_doorward(*login, broken.url, stdin="x\n").err


def test_failed_logout_keeps_the_session(store):
    sessions = InstanceAuthSessions.load()
    sessions.insert("http://127.0.0.1:9", "ann", "x.y.z", datetime.now(UTC) + timedelta(minutes=5))
    sessions.save()
    result = run_doorward("logout")
    assert (result.code, result.out) == (5, "")
    assert result.err.startswith("The session may still be active. Log out again.")
    assert InstanceAuthSessions.load().find("http://127.0.0.1:9", "ann")


def test_malformed_store_is_renamed_and_reported(stored_client, store):
    store.write_text("{ this was")
    result = run_doorward("whoami")
    assert result.code == 3
    assert f"{store} is malformed" in result.err
    assert [one.read_text() for one in store.parent.glob("*broken*")] == ["{ this was"]


def test_session_revoked_elsewhere_is_reported(ann, stored_client):
    ann.log_in().revoke_session(stored_client.session.session_id)
    result = run_doorward("whoami")
    assert (result.code, result.out) == (3, "")
    assert result.err.endswith("Run: doorward login\n")
    renew = run_doorward("whoami", DOORWARD_TOKEN="x.y.z")
    assert renew.code == 3
    assert "Renew DOORWARD_TOKEN" in renew.err


def test_unusable_store_fails_before_the_login(fake_server, tmp_path):
    (tmp_path / "file").write_text("")
    server = fake_server(Reply(TOKENS))
    for way in ("--password-stdin", "--device"):
        result = run_doorward(
            "login",
            "--url",
            server.url,
            "-u",
            "ann",
            way,
            stdin="x",
            DOORWARD_STORE=str(tmp_path / "file" / "x.json"),
        )
        assert (result.code, result.out, server.seen) == (1, "", [])
        assert str(tmp_path / "file") in result.err


def test_session_that_cannot_be_stored_is_logged_out(fake_server, store):
    def break_store(_request: str) -> Reply:
        shutil.rmtree(store.parent)
        store.parent.write_text("")
        return Reply({**TOKENS, "account": {"username": "ann"}})

    server = fake_server(
        Reply({"username": "ann", "session_id": "ses_1"}), routes={"/v1/login": [break_store]}
    )
    result = run_doorward(
        "login", "--url", server.url, "--user", "ann", "--password-stdin", stdin="x"
    )
    assert (result.code, result.out) == (1, "")
    assert server.paths()[-1] == "/v1/logout"


def test_users_are_selected_by_option_and_variable(ann, stored_client, live):
    bob = register_user(live)
    client = bob.log_in()
    client.session.to_store()
    assert run_doorward("whoami", "-o", "json", "--user", ann.name).json["username"] == ann.name
    assert run_doorward("whoami", "-o", "json", DOORWARD_USER=bob.name).json["username"] == bob.name
    login = ("login", "--user", ann.name, "--password-stdin", "--url")
    for words, env, expected in [
        (
            (live.url, "--expires", "1h"),
            {},
            f"the session of {bob.name} expires later. Pass them --user {ann.name}.",
        ),
        (
            (live.url,),
            {"DOORWARD_USER": bob.name},
            f"DOORWARD_USER is {bob.name}. Pass them --user {ann.name}.",
        ),
        (
            (live.url,),
            {"DOORWARD_USER": f"{ann.name}@example.org"},
            f"Pass them --user {ann.name}.",
        ),
        (
            (live.url,),
            {"DOORWARD_URL": "http://127.0.0.1:9"},
            f"Other commands use http://127.0.0.1:9, because DOORWARD_URL is set. Pass them --url {live.url}.",
        ),
        (
            (live.url,),
            {"DOORWARD_URL": "http://[", "DOORWARD_USER": ann.name},
            "because DOORWARD_URL is set",
        ),
        ((live.url,), {"DOORWARD_TOKEN": "x.y.z"}, "Other commands use DOORWARD_TOKEN."),
        ((live.url,), {}, "unless you use it before then."),
    ]:
        result = run_doorward(*login, *words, stdin=ann.password, **env)
        assert result.code == 0, result.err
        assert expected in result.err.splitlines()[-1]


def test_yaml_and_json_are_ascii(stored_client):
    stored_client.call("PATCH", "/v1/me", json={"name": "Zoë"})
    made = run_doorward("keys", "create", "no: 12 'ü' 🗝 \"#", "-o", "yaml")
    assert made.code == 0, made.err
    assert yaml.safe_load(made.out)["name"] == "no: 12 'ü' 🗝 \"#"
    for form in ("json", "yaml"):
        assert run_doorward("keys", "-o", form).out.isascii()
    assert json.loads(run_doorward("keys", "-o", "json").out)[0]["name"] == "no: 12 'ü' 🗝 \"#"
