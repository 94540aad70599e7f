"""The command line in scripts and pipes: what each command prints, where, and how it ends."""

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

from doorward import Doorward, InstanceAuthSessions
from doorward.cli.exit_codes import MEANINGS
from tests.actors import PASSWORD
from tests.client.conftest import settle
from tests.client.stand_in import HTML, TOKENS, Says
from tests.client.typed import Written, doorward

SENTENCE = re.compile(r"([A-Z]|http://127).+[.\w)]$")
NEW = "another battery staple horse"


@pytest.fixture
def kept(ann, monkeypatch) -> Doorward:
    """ann is logged in, and the session is in the store."""
    client = ann.logged_in(device_name="attic")
    client.session.to_store()
    monkeypatch.setenv("DOORWARD_URL", ann.live.url)
    return client


# -- login and logout -----------------------------------------------------------------------------------------------


def test_a_password_from_a_pipe_logs_in_and_the_session_is_kept(ann, live, store):
    piped = f"\ufeff{PASSWORD}\r\nmore\n"  # as some shells of Windows do it
    done = doorward(
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
    assert (done.code, done.out) == (0, "")
    assert re.search(
        rf"Logged in at {re.escape(live.url)} as {ann.name}\.\nThe session ends on \d{{4}}-\d\d-\d\d \d\d:\d\d\.",
        done.err,
    )
    assert PASSWORD not in done.err
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    found = Doorward(live.url).login.from_store()
    assert found.username == ann.name
    assert (
        doorward("whoami", "-o", "json").json["username"] == ann.name
    )  # the only service in the store is meant


def test_login_says_how_long_the_session_may_last(ann, live):
    for expires, said in [
        (["--expires", "12h"], r"\.$"),
        (["--expires", "29d"], r"; using it before then prolongs it, until \S+ \S+ and as far as"),
        ([], "; using it before then prolongs it.$"),
    ]:
        done = doorward(
            "login",
            "--url",
            live.url,
            "--user",
            ann.name,
            "--password-stdin",
            *expires,
            stdin=PASSWORD,
        )
        assert re.search(rf"The session ends on [0-9-]+ [0-9:]+{said}", done.err.strip()), done.err


def test_login_tells_programs_what_came_of_it(ann, live, store):
    done = doorward(
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
    assert done.code == 0, done.err
    found = done.json
    assert (found["url"], found["username"], found["store"]) == (live.url, ann.name, str(store))
    left = datetime.fromisoformat(found["session_expires_at"]) - datetime.now(UTC)
    assert 3500 < left.total_seconds() <= 3600
    assert "Logged in" in done.err
    assert not [word for word in ("token", "dwt_", PASSWORD) if word in done.out]


def test_a_wrong_password_ends_with_4_and_keeps_nothing(ann, live, store):
    done = doorward(
        "login",
        "--url",
        live.url,
        "--user",
        ann.name,
        "--password-stdin",
        stdin="wrong horse battery staple\n",
    )
    assert (done.code, done.out) == (4, "")
    assert "wrong horse" not in done.err
    assert not store.exists()


@pytest.mark.parametrize("stdin", ["", "\n", b"\xff\xfe\n", "x" * 5000])
def test_what_is_piped_in_must_be_a_password(stdin):
    done = doorward(
        "login", "--url", "http://127.0.0.1:9", "--user", "ann", "--password-stdin", stdin=stdin
    )
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 2  # where it would have logged in, and why not


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--password", "hunter2"], "A password is never an argument"),
        (["--password=hunter2"], "A password is never an argument"),
        (["--password-stdin=hunter2"], "does not take a value"),
        (["hunter2"], "A password is never an argument"),
        (["-p", "hunter2"], "No such option"),
        (["--passwd=hunter2"], "No such option"),
        (["--device", "--password"], "Choose one of"),
        (["--device", "--expires", "2 days"], "12h or 30d, or a date"),
        (["--password-stdin", "--message", "x"], "--message goes with --device"),
        (["--password-stdin", "--expires", "2 days"], "12h or 30d, or a date"),
        (["--password-stdin", "--expires", "366d"], "a year is the most"),
        (["--password-stdin", "--expires", "2020-01-31"], "over already"),
        (["--password-stdin", "--expires", "9999-12-31"], "too far away"),
        (["--password-stdin", "--expires", "0s"], "must last at all"),
        (["--timeout", "soon"], "12h or 30d"),
    ],
)
def test_wrong_use_is_said_and_no_password_is_repeated(words, said):
    done = doorward("login", "--url", "http://127.0.0.1:1", *words)
    assert (done.code, done.out) == (2, "")
    assert said in " ".join(done.err.split())
    assert "hunter2" not in done.err


def test_logging_out_ends_the_session_and_forgets_it(ann, kept, store):
    done = doorward("logout")
    assert (done.code, done.err) == (
        0,
        f"Logged out {ann.name} at {kept.url}.\n",
    )  # whose it was, where there are several
    assert doorward("whoami").code == 3
    assert "ann" not in store.read_text()
    again = doorward("logout")
    assert (again.code, again.err) == (0, "Nobody was logged in.\n")


def test_logging_out_everywhere_ends_the_other_sessions_too(ann, kept):
    other = ann.logged_in()
    assert doorward("logout", "--all").code == 0
    with pytest.raises(Exception, match="log in again"):
        other.validate()
    assert doorward("logout", "--all").code == 3


# -- what is there --------------------------------------------------------------------------------------------------


def test_whoami_has_three_forms(ann, kept):
    table, found = doorward("whoami"), doorward("whoami", "-o", "json").json
    assert ann.name in table.out
    assert re.search(r"^By +session ses_", table.out, re.MULTILINE)
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
        kept.url,
        ann.name,
        "session",
        [],
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["expires_at"])
    assert yaml.safe_load(doorward("whoami", "-o", "yaml").out) == found


def test_sessions_are_listed_and_ended(ann, kept):
    other = ann.logged_in(device_name="a device " + "of a very long name " * 2)
    table = doorward("sessions")
    assert max(map(len, table.out.splitlines())) <= 80
    assert re.search(rf"^{kept.session.session_id}  here: attic ", table.out, re.MULTILINE)
    found = doorward("sessions", "-o", "json").json
    assert (
        found
        == doorward("sessions", "list", "-o", "json").json
        == yaml.safe_load(doorward("sessions", "-o", "yaml").out)
    )
    assert [(one["id"], one["current"]) for one in found] == [
        (other.session.session_id, False),
        (kept.session.session_id, True),
    ]
    assert doorward("sessions", "end", other.session.session_id).code == 0
    assert len(doorward("sessions", "-o", "json").json) == 1
    unknown = doorward("sessions", "end", other.session.session_id + "x")
    assert (unknown.code, unknown.out) == (1, "")


def test_nothing_that_a_service_says_moves_the_cursor_or_breaks_the_table(stand_in):
    hostile = "\x1b[2J\x07\u202e\x9b31m" + "漢字" * 40
    session = {
        "id": "ses_1",
        "device_name": hostile,
        "last_address": hostile,
        "current": True,
        "expires_at": "2027-01-31T00:00:00Z",
    }
    there = stand_in(Says({"items": [session, {**session, "last_used_at": "now", "id": 7}]}))
    for form in ("table", "json", "yaml"):
        done = doorward("sessions", "--url", there.url, "-o", form, DOORWARD_TOKEN="dwk_x")
        assert (done.code, done.err) == (0, "")
        assert not set(done.out) & set("\x1b\x07\x9b\u202e")
        assert form == "table" or done.out.isascii()
    told = dict.fromkeys(
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
        **told,
        "roles": [hostile],
        "device_code": "dwl_x",
        "verification_uri": "https://auth.example.com/\x1b[2J",
        "interval": 0,
    }
    everything = stand_in(Says({**more, "account": told, "session": told, "key": "dwk_x\x1b[2J"}))
    for words, code in [(("login", "-u", "ann", "--password-stdin"), 0), (("login", "--device"), 0), (("roles",), 0), (("status",), 0),
                        (("sessions",), 0), (("keys", "create", "x"), 5), (("logout",), 0)]:  # fmt: skip
        done = doorward(*words, "--url", everything.url, stdin="x")
        assert (done.code, set(done.out + done.err) & set("\x1b\x07\x9b\u202e")) == (code, set()), (
            done
        )
    nothing = stand_in(Says({"items": []}))
    assert doorward("sessions", "--url", nothing.url, DOORWARD_TOKEN="dwk_x") == Written(
        0, "", "There are no sessions.\n"
    )
    table = doorward("sessions", "--url", there.url, DOORWARD_TOKEN="dwk_x").out.splitlines()
    assert max(len(line) + len(re.findall("[漢字]", line)) for line in table) <= 80


def test_ending_all_other_sessions_keeps_this_one(ann, kept):
    ann.logged_in()
    assert doorward("sessions", "end-others").code == 0
    assert [one["id"] for one in doorward("sessions", "-o", "json").json] == [
        kept.session.session_id
    ]


def test_ending_ones_own_session_forgets_it(kept, store):
    assert doorward("sessions", "end", kept.session.session_id).code == 0
    assert kept.session.session_id not in store.read_text()


def test_roles_are_listed_for_oneself_and_by_thing(kept):
    assert doorward("roles").err == "No roles.\n"
    assert doorward("roles", "-o", "json").json == []
    account = kept.whoami().account_id
    assert doorward("roles", account, "--resource", "list", "--id", "7", "-o", "json").json == []
    assert doorward("roles", "--resource", "list").code == 2
    assert doorward("roles", "acc_unknown").code in {1, 4}


# -- keys -----------------------------------------------------------------------------------------------------------


def test_a_new_key_is_all_of_standard_output_and_works(kept, ann):
    made = doorward("keys", "create", "nightly build", "--expires", "30d")
    assert made.code == 0, made.err
    assert re.fullmatch(r"dwk_\w+\n", made.out)
    key = made.out.strip()
    assert key not in made.err
    assert "'nightly build'" in made.err
    found = doorward("whoami", "-o", "json", DOORWARD_TOKEN=key).json
    assert (found["kind"], found["username"], found["session_id"]) == ("api_key", ann.name, "")
    assert found["key_id"] in made.err
    listed = doorward("keys", "-o", "json")
    assert [(one["id"], one["name"]) for one in listed.json] == [(found["key_id"], "nightly build")]
    assert key not in listed.out
    assert re.search(
        rf"^{found['key_id']}  nightly build .* in 30 d$", doorward("keys").out, re.MULTILINE
    )
    assert doorward("keys", "create", "nightly build").code == 1  # the name is taken

    rotated = doorward("keys", "rotate", found["key_id"], "--overlap", "0s", "-o", "json")
    assert rotated.json["key"].startswith("dwk_")
    assert rotated.json["key"] != key
    assert rotated.json["key"] not in rotated.err
    assert doorward("whoami", DOORWARD_TOKEN=key).code == 3
    assert doorward("logout", DOORWARD_TOKEN=rotated.json["key"]).code == 2
    assert (
        doorward("keys", "create", "for ever", "--expires", "never").code == 2
    )  # administrators may
    assert doorward("keys", "delete", found["key_id"]).code == 0
    assert doorward("keys", "list", "-o", "json").json == []
    assert "keys create" in doorward("keys").err
    assert doorward("whoami", DOORWARD_TOKEN=rotated.json["key"]).code == 3


def test_what_asks_for_a_fresh_password_says_what_to_do_where_nobody_can_be_asked(kept, live):
    """A session that was let in from another device never typed one; the same answer comes five minutes after a login."""
    with sqlite3.connect(live.database, timeout=10) as db:
        db.execute("UPDATE sessions SET auth_time = NULL WHERE id = ?", [kept.session.session_id])
    kept.session.refresh()
    done = doorward("keys", "create", "x")
    assert (done.code, done.out) == (4, "")
    assert "--password-stdin" in done.err


# -- the password ---------------------------------------------------------------------------------------------------


def test_a_password_is_changed_from_a_pipe_and_the_session_goes_on(ann, kept):
    other = ann.logged_in()
    done = doorward("password", "change", "--stdin", stdin=f"{PASSWORD}\n{NEW}\n{NEW}\n")
    assert (done.code, done.out) == (0, ""), done.err
    assert doorward("whoami").code == 0
    with pytest.raises(Exception, match="log in again"):
        other.validate()
    ann.password = NEW
    assert ann.logged_in().logged_in


def test_a_password_is_made_up_and_printed_once_and_none_is_where_the_present_one_is_wrong(
    ann, kept
):
    wrong = doorward("password", "change", "--generate", "--stdin", stdin=f"wrong\n{NEW}\n")
    assert (wrong.code, wrong.out) == (4, "")
    done = doorward("password", "change", "--generate", "--stdin", stdin=PASSWORD)
    assert (
        done.code,
        bool(re.fullmatch(r"([a-km-np-z2-9]{5}-){4}[a-km-np-z2-9]{5}\n", done.out)),
    ) == (0, True), done.err
    ann.password = done.out.strip()
    assert ann.password not in done.err
    assert ann.logged_in().logged_in


def test_a_password_that_was_made_up_is_printed_before_it_counts_and_what_failed_is_said(stand_in):
    """The other way round, one that nobody could read would lock its owner out."""
    not_known, stays = "is not known whether", "stays as it was"
    for status, code, said in [
        (503, 5, not_known),
        (200, 5, not_known),
        (302, 5, not_known),
        (429, 6, stays),
        (404, 5, stays),
    ]:
        answers = {
            "/v1/elevate": [Says(TOKENS)],
            "/v1/methods": [Says({"policies": {"password_min_length": 40}})],
            "/v1/password/change": [Says({}, status)],
        }
        there = stand_in(Says({}), routes=answers)
        done = doorward(
            "password",
            "change",
            "--generate",
            "--stdin",
            "--url",
            there.url,
            stdin="x",
            DOORWARD_TOKEN="x.y.z",
        )
        assert (done.code, len(done.out)) == (code, 42)
        assert said in done.err
        assert done.out.strip() not in done.err


def test_a_password_that_is_none_is_refused_with_reasons(kept):
    for stdin, code, said in [
        (
            f"{PASSWORD}\npassword123456789\n",
            2,
            "The new password is not taken:\n- it is one of those",
        ),
        (f"wrong\n{NEW}\n", 4, "present password is wrong"),
        (f"{PASSWORD}\n{NEW}\n{NEW}x\n", 2, "not the same"),
        (f"{PASSWORD}\n", 2, "a line each"),
        ("", 2, "a line each"),
    ]:
        done = doorward("password", "change", "--stdin", stdin=stdin)
        assert (done.code, done.out) == (code, "")
        assert said in done.err
        assert PASSWORD not in done.err


def test_the_words_of_a_password_are_never_arguments(kept):
    done = doorward("password", "change", "hunter2", "hunter3")
    assert done.code == 2
    assert "never an argument" in " ".join(done.err.split())
    assert "hunter" not in done.err
    done = doorward("password", "hunter2")
    assert (done.code, "hunter" in done.err, "never an argument" in done.err) == (2, False, True)
    assert doorward("password", "change").code == 2  # nobody can be asked


# -- for scripts ----------------------------------------------------------------------------------------------------


def test_a_token_is_all_of_standard_output_and_counts(kept, live):
    done = doorward("token")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("\n") == 1
    status, found = live.call(
        "GET", "/v1/whoami", headers={"Authorization": f"Bearer {done.out.strip()}"}
    )
    assert (status, found["session_id"]) == (200, kept.session.session_id)


def test_the_token_of_the_environment_is_used_where_it_is_for(
    ann, kept, live, stand_in, monkeypatch
):
    other = ann.logged_in()
    monkeypatch.setenv("DOORWARD_TOKEN", other.token)
    assert doorward("token").out.strip() == other.token
    assert doorward("whoami", "-o", "json").json["session_id"] == other.session.session_id
    assert (
        doorward("whoami", "-o", "json", "--user", ann.name).json["session_id"]
        == kept.session.session_id
    )  # an option goes first
    elsewhere = stand_in(Says({}))
    assert doorward("whoami", "--url", elsewhere.url) == Written(
        3, "", f"Nobody is logged in at {elsewhere.url}. Run: doorward login\n"
    )
    assert elsewhere.seen == []  # it is for DOORWARD_URL and for nobody else
    odd = doorward("whoami", DOORWARD_TOKEN=f"{other.token}\r")
    assert (odd.code, odd.err) == (
        2,
        "DOORWARD_TOKEN holds no token or key: set it as it was handed out, or unset it.\n",
    )
    monkeypatch.delenv("DOORWARD_URL")
    assert doorward("whoami", "--url", live.url).code == 0
    InstanceAuthSessions().save()
    nowhere = doorward("whoami", DOORWARD_STORE=os.devnull + "-none")
    assert nowhere.code == 3
    assert "DOORWARD_URL" in nowhere.err


def test_status_says_what_is_there_and_the_exit_code_too(ann, kept, live, store):
    done = doorward("status", "-o", "json")
    found = done.json
    assert (done.code, found["url"], found["reachable"], found["username"], found["store"]) == (
        0,
        live.url,
        True,
        ann.name,
        str(store),
    )
    assert (found["service"], found["version"]) == ("doorward", kept.get_version().version)
    assert abs(found["clock_skew_seconds"]) < 5
    table = doorward("status")
    assert re.search(rf"^Logged in +{ann.name}$", table.out, re.MULTILINE)
    kept.logout()
    nobody = doorward("status", "-o", "json")
    assert (nobody.code, nobody.json["reachable"], nobody.json["username"]) == (3, True, None)
    sessions = InstanceAuthSessions.load()
    sessions.insert("http://127.0.0.1:9", "bob", "x.y.z", datetime.now(UTC) + timedelta(minutes=5))
    sessions.save()
    away = doorward("status", "-o", "json", DOORWARD_URL="http://127.0.0.1:9")
    assert away.json["username"] == "bob"
    assert (away.code, away.json["reachable"]) == (5, False)
    assert (
        doorward("status", DOORWARD_URL=None, DOORWARD_STORE=str(store.parent / "none")).code == 3
    )


def test_status_shows_each_service_where_somebody_is_logged_in(ann, kept, live):
    sessions = InstanceAuthSessions.load()
    sessions.insert("http://127.0.0.1:9", "bob", "x.y.z", datetime.now(UTC) + timedelta(minutes=5))
    sessions.save()
    both = doorward("status", "-o", "json", DOORWARD_URL=None)
    assert [(one["url"], one["reachable"], one["username"]) for one in both.json] == [
        (live.url, True, ann.name),
        ("http://127.0.0.1:9", False, "bob"),
    ]
    assert (both.code, both.err) == (
        5,
        "http://127.0.0.1:9 cannot be reached: check the address and the network.\n",
    )
    assert doorward("status", DOORWARD_URL=None).out.count("\nLogged in ") == 2
    assert (
        doorward("status", "-o", "json", "--user", ann.name, DOORWARD_URL=None).json["url"]
        == live.url
    )
    ann.logged_in().logout_all()
    over = doorward("status", DOORWARD_URL=None)
    assert (over.code, over.err.splitlines()[0]) == (
        3,
        f"{live.url}: The session is over. Run: doorward login",
    )


def test_it_is_said_where_the_token_of_the_environment_is_used(kept, ann):
    for token in (kept.token, kept.keys.create("robot").key.reveal()):
        status = doorward("status", DOORWARD_TOKEN=token).out
        assert re.search(rf"^Logged in +{ann.name}\nBy +DOORWARD_TOKEN$", status, re.MULTILINE), (
            status
        )
        assert re.search(
            r"^By +(session|key) \w+ of DOORWARD_TOKEN$",
            doorward("whoami", DOORWARD_TOKEN=token).out,
            re.MULTILINE,
        )
    assert "DOORWARD_TOKEN" not in doorward("status").out + doorward("whoami").out


# -- what goes wrong ------------------------------------------------------------------------------------------------


def test_each_failure_has_its_exit_code_and_one_sentence(kept, stand_in, ann, live):
    limited = stand_in(
        Says({"code": "too_many_requests", "status": 429}, 429, {"Retry-After": "599"})
    )
    page = stand_in(HTML)
    another = stand_in(
        Says({"detail": "Not Found"}, 404)
    )  # some other service, which answers in JSON too
    moved = stand_in(Says({}, 302, {"Location": "https://elsewhere.example/auth/v1/login?next=1"}))
    sessions = InstanceAuthSessions.load()
    sessions.insert("http://127.0.0.1:9", "bob", "x.y.z", datetime.now(UTC) + timedelta(minutes=5))
    sessions.save()
    two = doorward("whoami", DOORWARD_URL=None)
    assert (two.code, two.err) == (
        2,
        f"There are sessions at {live.url}, http://127.0.0.1:9: give --url, or set DOORWARD_URL.\n",
    )
    broken = stand_in(Says({"code": "internal", "request_id": "req_1"}, 500, {"Retry-After": "60"}))
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
        done = doorward(*words, stdin="x\n")
        said = [line for line in done.err.splitlines() if not line.startswith("Log in at")]
        assert (done.code, len(said)) == (code, 1), done.err
        assert SENTENCE.match(said[0])
        assert "allow_http" not in said[0]
        assert "client.login" not in said[0]
        assert code in MEANINGS
    assert "try again in 10 min." in doorward(*login, limited.url, stdin="x\n").err
    assert (
        "leads to https://elsewhere.example/auth: if that is right"
        in doorward(*login, moved.url, stdin="x\n").err
    )
    assert "(request req_1)" in doorward(*login, broken.url, stdin="x\n").err


def test_a_session_that_the_service_could_not_be_told_of_is_kept(store):
    sessions = InstanceAuthSessions.load()
    sessions.insert("http://127.0.0.1:9", "ann", "x.y.z", datetime.now(UTC) + timedelta(minutes=5))
    sessions.save()
    done = doorward("logout")
    assert (done.code, done.out) == (5, "")
    assert done.err.startswith("The session may still be live: log out again.")
    assert InstanceAuthSessions.load().find("http://127.0.0.1:9", "ann")


def test_a_broken_store_is_set_aside_and_said(kept, store):
    store.write_text("{ this was")
    done = doorward("whoami")
    assert done.code == 3
    assert f"{store} is broken" in done.err
    assert [one.read_text() for one in store.parent.glob("*broken*")] == ["{ this was"]


def test_a_session_that_was_ended_elsewhere_is_said_to_be_over(ann, kept):
    ann.logged_in().revoke_session(kept.session.session_id)
    done = doorward("whoami")
    assert (done.code, done.out) == (3, "")
    assert done.err.endswith("Run: doorward login\n")
    renew = doorward("whoami", DOORWARD_TOKEN="x.y.z")
    assert renew.code == 3
    assert "Renew DOORWARD_TOKEN" in renew.err


def test_where_the_session_could_not_be_kept_nobody_is_asked(stand_in, tmp_path):
    (tmp_path / "file").write_text("")
    there = stand_in(Says(TOKENS))
    for way in ("--password-stdin", "--device"):
        done = doorward(
            "login",
            "--url",
            there.url,
            "-u",
            "ann",
            way,
            stdin="x",
            DOORWARD_STORE=str(tmp_path / "file" / "x.json"),
        )
        assert (done.code, done.out, there.seen) == (1, "", [])
        assert str(tmp_path / "file") in done.err


def test_where_the_session_cannot_be_kept_it_is_ended_again(stand_in, store):
    def spoil(_request: str) -> Says:
        shutil.rmtree(store.parent)
        store.parent.write_text("")
        return Says({**TOKENS, "account": {"username": "ann"}})

    there = stand_in(
        Says({"username": "ann", "session_id": "ses_1"}), routes={"/v1/login": [spoil]}
    )
    done = doorward("login", "--url", there.url, "--user", "ann", "--password-stdin", stdin="x")
    assert (done.code, done.out) == (1, "")
    assert there.paths()[-1] == "/v1/logout"


def test_two_people_are_told_apart(ann, kept, live):
    bob = settle(live)
    client = bob.logged_in()
    client.session.to_store()
    assert doorward("whoami", "-o", "json", "--user", ann.name).json["username"] == ann.name
    assert doorward("whoami", "-o", "json", DOORWARD_USER=bob.name).json["username"] == bob.name
    login = ("login", "--user", ann.name, "--password-stdin", "--url")
    for words, env, said in [
        (
            (live.url, "--expires", "1h"),
            {},
            f"the session of {bob.name} lasts longer: give them --user {ann.name}.",
        ),
        (
            (live.url,),
            {"DOORWARD_USER": bob.name},
            f"DOORWARD_USER is {bob.name}: give them --user {ann.name}.",
        ),
        (
            (live.url,),
            {"DOORWARD_USER": f"{ann.name}@example.org"},
            f"give them --user {ann.name}.",
        ),
        (
            (live.url,),
            {"DOORWARD_URL": "http://127.0.0.1:9"},
            f"The other commands ask http://127.0.0.1:9, since DOORWARD_URL says so: give them --url {live.url}.",
        ),
        (
            (live.url,),
            {"DOORWARD_URL": "http://[", "DOORWARD_USER": ann.name},
            "since DOORWARD_URL says so",
        ),
        (
            (live.url,),
            {"DOORWARD_TOKEN": "x.y.z"},
            "DOORWARD_TOKEN is set, and the other commands use that",
        ),
        ((live.url,), {}, "prolongs it."),
    ]:
        done = doorward(*login, *words, stdin=ann.password, **env)
        assert done.code == 0, done.err
        assert said in done.err.splitlines()[-1]


def test_yaml_and_json_are_ascii_and_say_the_same(kept):
    kept.call("PATCH", "/v1/me", json={"name": "Zoë"})
    made = doorward("keys", "create", "no: 12 'ü' 🗝 \"#", "-o", "yaml")
    assert made.code == 0, made.err
    assert yaml.safe_load(made.out)["name"] == "no: 12 'ü' 🗝 \"#"
    for form in ("json", "yaml"):
        assert doorward("keys", "-o", form).out.isascii()
    assert json.loads(doorward("keys", "-o", "json").out)[0]["name"] == "no: 12 'ü' 🗝 \"#"
