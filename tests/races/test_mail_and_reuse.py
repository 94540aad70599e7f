"""Emails under concurrent requests, and a stolen token used by several at once."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from sqlalchemy import create_engine, text

from tests.actors import PASSWORD
from tests.live import build_raw_post, send_simultaneously

RACERS = 16
NUMBERS = itertools.count()


@pytest.fixture
def name() -> str:
    """Return a username that no other race uses, because the server is shared."""
    return f"writer{next(NUMBERS)}"


@pytest.fixture
def query(live):
    """A direct connection to the database."""
    engine = create_engine(live.env["DOORWARD_DATABASE_URL"])

    def query(sql: str, **values: str) -> int:
        with engine.connect() as connection:
            return connection.execute(text(sql), values).scalar_one()

    yield query
    engine.dispose()


def build_registration(name: str, email: str) -> dict[str, str]:
    return {"username": name, "email": email, "name": "Writer", "password": PASSWORD}


def sign_up(live, name: str) -> None:
    email = f"{name}@example.org"
    handle = live.call("POST", "/v1/register", build_registration(name, email))[1]["registration"]
    assert (
        live.call(
            "POST",
            "/v1/register/confirm",
            {"registration": handle, "code": live.mailbox(email)[0]["code"]},
        )[0]
        == 200
    )


def log_in(live, name: str) -> dict:
    status, tokens = live.call("POST", "/v1/login", {"username": name, "password": PASSWORD})
    assert status == 200
    return tokens


def refresh_tokens(live, token: str) -> tuple[int, dict]:
    return live.call("POST", "/v1/token/refresh", {"refresh_token": token})


def is_accepted(live, tokens: dict) -> bool:
    return (
        live.call(
            "GET", "/v1/whoami", headers={"Authorization": f"Bearer {tokens['access_token']}"}
        )[0]
        == 200
    )


def test_sixteen_registrations_of_one_email_send_one_email(live, name):
    email = f"{name}@example.org"
    answers = send_simultaneously(
        live.port,
        [
            build_raw_post("/v1/register", build_registration(f"{name}-{number}", email))
            for number in range(RACERS)
        ],
    )
    assert Counter(status for status, _ in answers) == {202: RACERS}
    assert len(live.mailbox(email)) == 1


def test_sixteen_resends_within_a_minute_send_no_email(live, name):
    email = f"{name}@example.org"
    handle = live.call("POST", "/v1/register", build_registration(name, email))[1]["registration"]
    again = [
        build_raw_post("/v1/register/resend", {"registration": handle}),
        build_raw_post("/v1/register/resend", {"email": email}),
    ]
    answers = send_simultaneously(live.port, again * (RACERS // 2))
    assert Counter(status for status, _ in answers) == {202: RACERS}
    (mail,) = live.mailbox(email)
    assert (
        live.call("POST", "/v1/register/confirm", {"registration": handle, "code": mail["code"]})[0]
        == 200
    )


def test_sixteen_spellings_of_one_identity_yield_one_account(live, name):
    spelled = [
        "".join(pair)
        for pair in itertools.islice(itertools.product("wW", "rR", "iI", "tT"), RACERS)
    ]
    rest = name.removeprefix("writ")
    wanted = [
        build_registration(
            start + rest, f"{start}{rest}@Example.{'ORG' if start[0] == 'W' else 'org'}"
        )
        for start in spelled
    ]
    answers = send_simultaneously(
        live.port, [build_raw_post("/v1/register", body) for body in wanted]
    )
    assert Counter(status for status, _ in answers) == {202: 1, 409: RACERS - 1}
    winner = [status for status, _ in answers].index(202)
    address = wanted[winner]["email"].rpartition("@")[0] + "@example.org"
    code = live.mailbox(address)[0]["code"]
    assert (
        live.call(
            "POST",
            "/v1/register/confirm",
            {"registration": answers[winner][1]["registration"], "code": code},
        )[0]
        == 200
    )
    assert {
        live.call("POST", "/v1/login", {"username": body["username"], "password": PASSWORD})[0]
        for body in wanted
    } == {200}


def test_confirming_and_resending_at_once_causes_no_fault(live, name):
    """All of them lock the registration and its tokens; in different orders they would deadlock."""
    email = f"{name}@example.org"
    handle = live.call("POST", "/v1/register", build_registration(name, email))[1]["registration"]
    mail = live.mailbox(email)[0]
    by_code = build_raw_post("/v1/register/confirm", {"registration": handle, "code": mail["code"]})
    by_link = build_raw_post(
        "/v1/register/confirm", {"token": mail["links"][0].rpartition("/")[2], "password": PASSWORD}
    )
    again = build_raw_post("/v1/register/resend", {"registration": handle})
    answers = send_simultaneously(live.port, [by_code, by_link, again] * 6)
    found = Counter(status for status, _ in answers)
    assert set(found) == {200, 202, 400}
    assert (found[200], found[202]) == (1, 6)


def test_sixteen_reuses_at_once_revoke_the_session_once(live, name, query):
    sign_up(live, name)
    tokens = log_in(live, name)
    spent = tokens["refresh_token"]
    latest = refresh_tokens(live, refresh_tokens(live, spent)[1]["refresh_token"])[1]
    answers = send_simultaneously(
        live.port, [build_raw_post("/v1/token/refresh", {"refresh_token": spent})] * RACERS
    )
    assert Counter((status, answer["code"]) for status, answer in answers) == {
        (400, "invalid_grant"): RACERS
    }
    assert not is_accepted(live, tokens)
    assert not is_accepted(live, latest)
    assert refresh_tokens(live, latest["refresh_token"])[0] == 400
    session = tokens["session_id"]
    assert query("SELECT count(*) FROM revocations WHERE ref = :session", session=session) == 1
    assert (
        query(
            "SELECT count(*) FROM audit WHERE session_id = :session AND event = 'refresh_token.reuse_detected'",
            session=session,
        )
        == 1
    )
    templates = Counter(mail["template"] for mail in live.mailbox(f"{name}@example.org"))
    assert sorted(templates.values()) == [1, 1, 1], (
        "one code, one login notice, and one notice of the reuse"
    )


def test_concurrent_use_by_thief_and_owner_leaves_no_live_token(live, name):
    sign_up(live, name)
    tokens = log_in(live, name)
    spent = tokens["refresh_token"]
    latest = refresh_tokens(live, refresh_tokens(live, spent)[1]["refresh_token"])[1]
    requests = [
        build_raw_post("/v1/token/refresh", {"refresh_token": token})
        for token in (spent, latest["refresh_token"])
    ]
    answers = send_simultaneously(live.port, requests * (RACERS // 2))
    assert {status for status, _ in answers[::2]} == {400}
    assert {status for status, _ in answers[1::2]} <= {200, 400}
    got = [answer for status, answer in answers if status == 200]
    assert not any(is_accepted(live, answer) for answer in [tokens, latest, *got])
    assert {
        refresh_tokens(live, answer["refresh_token"])[0] for answer in [tokens, latest, *got]
    } == {400}


def test_two_sessions_revoking_all_others_leave_no_third(live, name):
    sign_up(live, name)
    first, second, *others = [log_in(live, name) for _ in range(8)]
    delete = [
        f"DELETE /v1/sessions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer {tokens['access_token']}\r\n\r\n".encode()
        for tokens in (first, second)
    ]
    answers = send_simultaneously(live.port, delete * 4)
    assert {status for status, _ in answers} <= {204, 401}
    assert 204 in {status for status, _ in answers}
    assert not any(is_accepted(live, tokens) for tokens in others)
    assert sum(is_accepted(live, tokens) for tokens in (first, second)) <= 1
