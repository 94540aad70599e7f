"""Login: one response for every refusal, one hash per login, and the attributes of the new session."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import jwt
import pytest

from app.adapters.password_hasher import Capacity
from app.authentication.errors import InvalidCredentials
from app.signing_keys.revoke import revoke_signing_key
from tests.actors import PASSWORD

REFUSED = {
    "type": "urn:doorward:problem:invalid_credentials",
    "title": InvalidCredentials.title,
    "status": 401,
    "code": "invalid_credentials",
}


def normalize_response(answer):
    """Return everything in the response that a client can compare, without the request ID."""
    headers = {name: value for name, value in answer.headers if name != "X-Request-Id"}
    assert answer.headers["X-Request-Id"] == answer.json["request_id"]
    return (
        answer.status_code,
        headers,
        answer.data.replace(answer.json["request_id"].encode(), b"-"),
    )


def test_every_refusal_has_the_same_answer(service):
    ann, bob, cyd = (
        service.actor("ann").sign_up(),
        service.actor("bob"),
        service.actor("cyd").sign_up(),
    )
    bob.register()
    service.scalar("UPDATE accounts SET status = 'disabled' WHERE username = 'cyd' RETURNING id")
    tries = {
        "unknown": {"username": "nobody-here"},
        "unknown address": {"username": "nobody@example.org"},
        "wrong password": {"password": "wrong horse battery staple"},
        "wrong password by address": {
            "username": ann.email,
            "password": "wrong horse battery staple",
        },
        "unconfirmed": {"username": bob.username, "password": bob.password},
        "unconfirmed by address": {"username": bob.email, "password": bob.password},
        "disabled": {"username": cyd.username, "password": cyd.password},
        "disabled with a wrong password": {"username": cyd.username, "password": "wrong"},
        "a reserved name": {"username": "root"},
        "no name": {"username": "a b"},
        "no address": {"username": "@@"},
        "two at signs": {"username": "ann@example.org@example.org"},
        "what cannot be seen": {"username": "a\u200bnn"},
        "too many bytes": {"username": "é" * 256},
        "a pattern": {"username": "an%"},
        "a quote": {"username": "ann' OR '1'='1"},
        "an emoji": {"username": "😀"},
        "an undefined domain": {"username": "ann@xn--"},
    }
    answers = {
        name: normalize_response(
            service.actor("x").post("/v1/login", {"username": "ann", "password": PASSWORD, **body})
        )
        for name, body in tries.items()
    }
    expected = answers["unknown"]
    assert expected[0] == 401
    for name, answer in answers.items():
        assert answer == expected, name
    assert {
        name: value
        for name, value in ann.login(password="wrong").json.items()
        if name != "request_id"
    } == REFUSED
    assert ann.login().status_code == 200


def test_a_disabled_account_can_log_in_again_once_it_is_active(service):
    ann = service.actor().sign_up()
    service.scalar("UPDATE accounts SET status = 'disabled' RETURNING id")
    assert ann.login().status_code == 401
    service.scalar("UPDATE accounts SET status = 'active' RETURNING id")
    assert ann.login().status_code == 200


@pytest.mark.parametrize(
    "typed",
    [
        "ann",
        "ANN",
        "Ann",
        "ａｎｎ",
        "ann@example.org",
        "ANN@EXAMPLE.ORG",
        "Ann@Example.Org",
        "ann＠example.org",
    ],
)
def test_login_by_name_or_email_ignores_case(sqlite_service, typed):
    ann = sqlite_service.actor().sign_up()
    assert ann.login(username=typed).status_code == 200
    assert ann.tokens["account"]["username"] == "ann"


@pytest.mark.parametrize(
    "typed",
    [
        " ann",
        "ann ",
        "ann\u0000",
        "an",
        "annn",
        "ann+x@example.org",
        "a.nn@example.org",
        "ann@example.org.",
        "ann@sub.example.org",
    ],
)
def test_other_names_are_refused(sqlite_service, typed):
    ann = sqlite_service.actor().sign_up()
    assert ann.login(username=typed).status_code in {401, 422}


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "Correct horse battery staple",
        "correct horse battery staple ",
        "correct horse battery stapl",
        "correct  horse battery staple",
    ],
)
def test_other_passwords_are_refused(sqlite_service, typed):
    ann = sqlite_service.actor().sign_up()
    assert ann.login(password=typed).status_code in {401, 422}


def test_password_is_normalized_for_accents_and_spaces(sqlite_service):
    ann = sqlite_service.actor(password="Pass\u00e9 composé de verbes").sign_up()
    assert ann.login(password="Passe\u0301 compose\u0301 de verbes").status_code == 200
    assert ann.login(password="Pass\u00e9\u00a0composé\u2003de verbes").status_code == 200
    assert ann.login(password="Passe composé de verbes").status_code == 401


@pytest.mark.parametrize("typed", ["x" * 129, "x" * 1025, "é" * 513, "long\u0007enough to be one"])
@pytest.mark.parametrize("username", ["ann", "nobody"])
def test_impossible_password_is_rejected_before_hashing(sqlite_service, typed, username):
    ann = sqlite_service.actor().sign_up()
    answer = ann.login(username=username, password=typed)
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == ["/password"]
    assert "login.failed" not in str(sqlite_service.scalar("SELECT group_concat(event) FROM audit"))


UNACCEPTABLE = [
    ({}, {"/username", "/password"}),
    ({"username": "ann"}, {"/password"}),
    ({"username": None, "password": PASSWORD}, {"/username"}),
    ({"username": ["ann"], "password": PASSWORD}, {"/username"}),
    ({"username": {"$ne": ""}, "password": {"$ne": ""}}, {"/username", "/password"}),
    ({"username": 1, "password": True}, {"/username", "/password"}),
    ({"username": "", "password": ""}, {"/username", "/password"}),
    ({"username": "x" * 257, "password": PASSWORD}, {"/username"}),
    ({"username": "an\u0000n", "password": "\u0000"}, {"/username", "/password"}),
    ({"username": "ann", "password": PASSWORD, "admin": True}, {"/admin"}),
    (
        {"username": "ann", "password": PASSWORD, "roles": ["admin"], "account_id": "x"},
        {"/roles", "/account_id"},
    ),
    ({"username": "ann", "password": PASSWORD, "expires_in": "3600"}, {"/expires_in"}),
    ({"username": "ann", "password": PASSWORD, "expires_in": 3600.0}, {"/expires_in"}),
    ({"username": "ann", "password": PASSWORD, "expires_in": True}, {"/expires_in"}),
    ({"username": "ann", "password": PASSWORD, "expires_in": 0}, {"/expires_in"}),
    ({"username": "ann", "password": PASSWORD, "expires_in": -1}, {"/expires_in"}),
    ({"username": "ann", "password": PASSWORD, "expires_in": 365 * 86400 + 1}, {"/expires_in"}),
    ({"username": "ann", "password": PASSWORD, "device_name": ""}, {"/device_name"}),
    ({"username": "ann", "password": PASSWORD, "device_name": "   "}, {"/device_name"}),
    ({"username": "ann", "password": PASSWORD, "device_name": "a\nb"}, {"/device_name"}),
    ({"username": "ann", "password": PASSWORD, "device_name": "x" * 65}, {"/device_name"}),
    ({"username": "ann", "password": PASSWORD, "device_name": "a\u202eb"}, {"/device_name"}),
]


def test_every_invalid_field_is_named(make_service):
    service = make_service(limit_login="1000/minute")
    ann = service.actor().sign_up()
    for body, fields in UNACCEPTABLE:
        answer = ann.post("/v1/login", body)
        assert answer.status_code == 422, body
        assert answer.json["code"] == "validation_failed"
        assert set(answer.json["errors"]) == fields
    assert service.scalar("SELECT count(*) FROM sessions") == 0


def test_login_returns_both_tokens_and_the_session_details(make_service, database_url):
    service = make_service(database_url, resources={"api": "https://api.example.org"})
    ann = service.actor().sign_in()
    assert set(ann.tokens) == {
        "access_token", "token_type", "expires_in", "refresh_token", "refresh_expires_in", "session_id", "scope", "account", "resources",
    }  # fmt: skip
    assert ann.tokens["token_type"] == "Bearer"
    assert ann.tokens["expires_in"] == 300
    assert 14 * 86400 - 5 <= ann.tokens["refresh_expires_in"] <= 14 * 86400
    assert ann.tokens["scope"] == ""
    assert ann.tokens["resources"] == {"api": "https://api.example.org"}
    assert set(ann.tokens["account"]) == {"id", "username", "name", "roles"}
    assert ann.tokens["account"]["roles"] == []


@pytest.mark.parametrize(
    ("longest", "requested", "granted"),
    [
        (30 * 86400, 60, 60),
        (30 * 86400, 3600, 3600),
        (30 * 86400, 20 * 86400, 14 * 86400),  # unused for two weeks, it expires
        (30 * 86400, 365 * 86400, 14 * 86400),
        (3600, 86400, 3600),
        (3600, None, 3600),
        (30 * 86400, None, 14 * 86400),
    ],
)
def test_login_can_request_a_shorter_session(make_service, longest, requested, granted):
    service = make_service(session_max_ttl=timedelta(seconds=longest))
    ann = service.actor().sign_up()
    assert ann.login(**({"expires_in": requested} if requested else {})).status_code == 200
    assert granted - 5 <= ann.tokens["refresh_expires_in"] <= granted
    assert ann.tokens["expires_in"] <= min(granted, 300)


def test_short_session_expires_even_when_refreshed(service):
    ann = service.actor().sign_up()
    ann.login(expires_in=120)
    service.clock.push(seconds=90)
    ann.tokens = ann.refresh().json
    assert ann.tokens["expires_in"] <= 30
    assert ann.tokens["refresh_expires_in"] <= 30
    service.clock.push(seconds=31)
    assert ann.whoami().status_code == 401
    assert ann.refresh().status_code == 400


@pytest.mark.parametrize(
    ("longest", "alive"), [(timedelta(days=30), False), (timedelta(days=90), True)]
)
def test_longer_session_requires_the_setting(make_service, longest, alive):
    service = make_service(session_max_ttl=longest)
    ann = service.actor().sign_up()
    ann.login(expires_in=60 * 86400)
    for _ in range(2):
        service.clock.push(days=13)
        ann.tokens = ann.refresh().json
    service.clock.push(days=5)
    assert (ann.refresh().status_code == 200) is alive


def test_outdated_hash_is_renewed_at_the_next_login(make_service, database_url):
    ann = make_service(database_url).actor().sign_up()
    service = make_service(database_url, argon2_time_cost=2, argon2_memory_kib=128)
    before = service.scalar("SELECT password_hash FROM accounts")
    assert "m=64,t=1,p=1" in before

    ann.service = service
    assert ann.login(password="wrong").status_code == 401
    assert service.scalar("SELECT password_hash FROM accounts") == before
    assert ann.login().status_code == 200
    renewed = service.scalar("SELECT password_hash FROM accounts")
    assert "m=128,t=2,p=1" in renewed
    assert ann.login().status_code == 200
    assert service.scalar("SELECT password_hash FROM accounts") == renewed


def test_concurrent_logins_succeed_while_the_hash_is_renewed(make_service, database_url):
    make_service(database_url).actor().sign_up()
    service = make_service(database_url, argon2_time_cost=2, capacity=Capacity(threads=32))
    actors = [service.actor() for _ in range(8)]
    gate = threading.Barrier(len(actors))

    def log_in(actor):
        gate.wait()
        return actor.login().status_code

    with ThreadPoolExecutor(len(actors)) as pool:
        assert set(pool.map(log_in, actors)) == {200}
    assert "t=2" in service.scalar("SELECT password_hash FROM accounts")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "junk",
        "$argon2id$v=19$m=4194304,t=50,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$broken",
        "plain:" + PASSWORD,
        PASSWORD,
    ],
)
def test_unusable_stored_hash_never_matches(sqlite_service, stored):
    ann = sqlite_service.actor().sign_up()
    sqlite_service.scalar("UPDATE accounts SET password_hash = :stored RETURNING id", stored=stored)
    assert ann.login().status_code == 401
    assert ann.login(password="").status_code == 422


def test_owner_is_emailed_only_for_a_new_network_or_agent(service):
    ann = service.actor(address="198.51.100.1", agent="phone").sign_in()

    def list_notices():
        return [
            mail
            for mail in service.mailbox(ann.email)
            if "198.51" in mail["text"] or "2001:db8" in mail["text"]
        ]

    assert len(list_notices()) == 1
    ann.login()
    assert len(list_notices()) == 1
    ann.agent = "laptop"
    ann.login()
    ann.login()
    assert len(list_notices()) == 2
    ann.address = "198.51.100.2"
    ann.login()
    ann.login()
    assert len(list_notices()) == 3
    assert "198.51.100.2" in list_notices()[0]["text"]
    assert "laptop" in list_notices()[0]["text"]
    ann.address = "2001:db8::1"
    ann.login()
    ann.address = "2001:db8::2"  # the same /64
    ann.login()
    assert len(list_notices()) == 4
    ann.address = "2001:db8:0:1::1"
    ann.login()
    assert len(list_notices()) == 5


def test_failed_login_sends_no_email(sqlite_service):
    ann = sqlite_service.actor().sign_up()
    before = len(sqlite_service.mailbox(ann.email))
    ann.login(password="wrong")
    assert len(sqlite_service.mailbox(ann.email)) == before


def test_login_updates_the_last_login_time(service):
    ann = service.actor().sign_in()
    first = ann.get("/v1/me", token=ann.access).json["account"]["last_login_at"]
    service.clock.push(hours=1)
    ann.login(password="wrong")
    ann.login()
    assert ann.get("/v1/me", token=ann.access).json["account"]["last_login_at"] > first


def test_login_rate_limit_comes_before_any_check(make_service):
    service = make_service(limit_login="3/minute")
    ann = service.actor().sign_up()
    assert [ann.login(password="wrong").status_code for _ in range(3)] == [401] * 3
    answer = ann.call("POST", "/v1/login", data=b"no json", content_type="text/plain")
    assert answer.status_code == 429
    assert answer.json["violated-policies"] == ["login"]
    assert answer.headers["RateLimit-Policy"] == '"login";q=3;w=60'
    assert answer.headers["RateLimit"] == f'"login";r=0;t={answer.headers["Retry-After"]}'
    assert 1 <= int(answer.headers["Retry-After"]) <= 61
    assert service.actor().login(username="ann").status_code == 200


def test_sessions_ended_by_a_signing_key_revocation_do_not_count(make_service, database_url):
    service = make_service(database_url, limit_login="1000/minute")
    ann = service.actor().sign_up()
    for _ in range(50):
        ann.login()
    kid = jwt.get_unverified_header(ann.access)["kid"]
    with service.units.open_read_write() as work:
        assert revoke_signing_key(work, kid=kid)
    ended = service.scalar("SELECT count(*) FROM revocations")
    assert ann.login().status_code == 200
    assert service.scalar("SELECT count(*) FROM revocations") == ended
    assert service.scalar("SELECT count(*) FROM audit WHERE event = 'session.ended'") == 0
