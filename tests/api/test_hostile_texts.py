"""Texts with a meaning in SQL, templates, shells or logs are stored unchanged or rejected."""

from __future__ import annotations

import html

import pytest
from sqlalchemy import inspect, text

from tests.device_logins import Device, claim, decide

# Texts that could break out of an SQL statement; tried on both databases.
STATEMENTS = [
    "'",
    '"',
    "';--",
    "' OR '1'='1",
    "'; DROP TABLE accounts; --",
    "') UNION SELECT password_hash FROM accounts --",
    "\\'; SELECT pg_sleep(5); --",
    "_",
    "%' ESCAPE '\\",
    ":id",
    "%(id)s",
    "%s%s%s%n",
    "$1",
]
HOSTILE = [
    *STATEMENTS,
    "{0.__class__.__mro__}",
    "{{ 1234567 * 7 }}",
    "{% include 'x' %}",
    "${jndi:ldap://127.0.0.1/x}",
    "$(touch /tmp/x)",
    "<script>alert(1)</script>",
    "../../../../etc/passwd",
    "=cmd|' /C calc'!A0",
    "\u2028",
    "\u202e",
    "\U0001f600" * 20,
    "I\u0307" * 40,
    "null",
    "__proto__",
]
COMPUTED = "8641969"  # what a template would make of the product above
LIMITS = {
    f"limit_{name}": "100000/minute"
    for name in ("login", "register", "resend", "confirm", "code", "refresh", "forgot", "device")
}
GOOD = {
    "/v1/register": {
        "username": "other",
        "email": "other@example.org",
        "name": "Other",
        "password": "long enough to be one",
        "locale": "en",
    },
    "/v1/register/confirm": {"registration": "reg_" + "0" * 22, "code": "BBBB-BBBB"},
    "/v1/register/resend": {"registration": "reg_" + "0" * 22},
    "/v1/login": {
        "username": "nobody-here",
        "password": "not the right one",
        "device_name": "phone",
        "device_token": "x",
    },
    "/v1/password/forgot": {"username": "nobody-here"},
    "/v1/password/reset": {
        "token": "x",
        "new_password": "long enough to be one",
        "verify_password": "long enough to be one",
    },
    "/v1/token/refresh": {"refresh_token": "x"},
    "/v1/logout": {"refresh_token": "x"},
    "/v1/login-sessions": {
        "client_name": "box",
        "client_id": "doorward",
        "hostname": "host",
        "login_message": "please",
        "scope": "orders:read",
        "username": "nobody-here",
    },
    "/v1/login-sessions/cancel": {"device_code": "x"},
}
ALSO = {
    "/v1/register/confirm": {"token": "x", "password": "long enough to be one"},
    "/v1/register/resend": {"email": "other@example.org"},
    "/v1/password/forgot": {"email": "other@example.org"},
}
ANSWERS = {201, 202, 400, 401, 404, 409, 422, 429}
TOLD = ("client_name", "hostname", "login_message")
CHANGES = ("name", "locale", "timezone")
QUERIES = ("limit", "sort", "cursor")


@pytest.fixture
def ann(make_service, database_url):
    return make_service(database_url, **LIMITS).actor("ann").sign_in()


@pytest.fixture
def eve(make_service):
    """A user on SQLite, for input that does not reach the database."""
    return make_service(**LIMITS).actor("eve").sign_in()


def build_bodies(texts):
    """Build a request for every field of every public route, with all other fields valid."""
    for known in (GOOD, ALSO):
        for path, body in known.items():
            for field in body:
                for hostile in texts:
                    yield path, {**body, field: hostile}


def count_columns(service) -> dict[str, int]:
    """Return the number of columns of each table, which injected SQL could change."""
    with service.open_database() as db:
        found = inspect(db.connection())
        return {table: len(found.get_columns(table)) for table in found.get_table_names()}


def get_password_hash(service) -> str:
    with service.open_database() as db:
        return db.execute(
            text("SELECT password_hash FROM accounts WHERE username = 'ann'")
        ).scalar_one()


def test_sql_in_a_body_has_no_effect(ann):
    before, kept = count_columns(ann.service), get_password_hash(ann.service)
    for path, body in build_bodies(STATEMENTS):
        answer = ann.post(path, body)
        assert answer.status_code in ANSWERS, (path, body, answer.text)
    assert count_columns(ann.service) == before
    assert get_password_hash(ann.service) == kept
    assert ann.whoami().status_code == 200


def test_hostile_text_in_a_body_has_no_effect(eve):
    for path, body in build_bodies(HOSTILE[len(STATEMENTS) :]):
        answer = eve.post(path, body)
        assert answer.status_code in ANSWERS, (path, body, answer.text)
        assert COMPUTED not in answer.text
    assert COMPUTED not in str(eve.service.mailbox())


def test_hostile_text_is_stored_unchanged(ann):
    for hostile in HOSTILE:
        for field in CHANGES:
            answer = ann.call("PATCH", "/v1/me", json={field: hostile}, token=ann.access)
            assert answer.status_code in {200, 422}
            if answer.status_code == 200:
                assert answer.json[field] == hostile
        answer = ann.call(
            "PATCH",
            "/v1/me",
            json={"metadata": {hostile: [hostile, {hostile: hostile}]}},
            token=ann.access,
        )
        assert answer.json["metadata"] == {hostile: [hostile, {hostile: hostile}]}
    assert ann.get("/v1/me", token=ann.access).json["account"]["username"] == "ann"


def test_device_description_is_shown_as_plain_text(eve):
    for hostile in HOSTILE:
        box = Device(eve.service.actor("box", agent=hostile if hostile.isascii() else "box/1"))
        if box.start(**dict.fromkeys(TOLD, hostile)).status_code == 422:
            assert not hostile.isprintable() or len(hostile) > 64
            continue
        details = claim(eve, box.code).json
        assert [details[field] for field in TOLD] == [hostile] * len(TOLD)
        assert decide(eve, box, "suspicious").status_code == 200
        mail = eve.mail()
        assert hostile in mail["text"]
        assert html.escape(hostile) in html.escape(html.unescape(mail["html"]))
        assert "<script" not in mail["html"]
        assert COMPUTED not in str(mail)


def test_hostile_query_does_not_change_the_list(eve):
    listed = eve.get("/v1/sessions", token=eve.access).json
    for name in QUERIES:
        for hostile in HOSTILE:
            answer = eve.get("/v1/sessions", token=eve.access, query_string={name: hostile})
            assert answer.status_code in {200, 422}
            if answer.status_code == 200:
                assert answer.json == listed


def test_hostile_path_causes_no_fault(eve):
    for hostile in HOSTILE:
        for path in (
            "/v1/sessions/{}",
            "/confirm/{}",
            "/docs/assets/{}",
            "/static/{}",
            "/.well-known/{}",
            "/{}",
        ):
            target = path.format(
                hostile.replace("%", "%25").replace("?", "%3F").replace("#", "%23")
            )
            assert eve.get(target, token=eve.access).status_code in {400, 404}, target
            assert eve.call("POST", target, token=eve.access).status_code in {400, 404, 405}, target
