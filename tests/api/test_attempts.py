"""Throttling of password attempts.

Guessing is delayed more and more, and the owner is not affected.
"""

from __future__ import annotations

import re
import threading

import pytest
from sqlalchemy import event

from app.adapters.password_hasher import Capacity
from app.server.cleanup import delete_expired_data
from tests.actors import PASSWORD, Service, build_settings

DELAYS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900]
FREE = 4
MAX_FAILURES = 100
WRONG = "no password of anybody here"
UNLIMITED = {
    "limit_login": "100000/minute",
    "limit_forgot": "100000/minute",
    "limit_confirm": "100000/minute",
}
NEW = "another sentence of some words"


@pytest.fixture
def service(make_service, database_url):
    return make_service(database_url, **UNLIMITED).freeze_clock()


@pytest.fixture
def sqlite_service(make_service):
    return make_service(**UNLIMITED).freeze_clock()


def normalize_response(answer):
    """Return everything in the response that a client can compare, without the request ID."""
    headers = {name: value for name, value in answer.headers if name != "X-Request-Id"}
    return (
        answer.status_code,
        headers,
        answer.data.replace(answer.json["request_id"].encode(), b"-"),
    )


def guess(actor, number: int = 1, **changes):
    """Send wrong passwords and return the last response."""
    for _ in range(number):
        answer = actor.login(**{"password": WRONG, **changes})
    return answer


def check_password(actor, check: str):
    """Send the right password to log in, to authenticate again or to change it."""
    if check == "login":
        return actor.login()
    if check == "elevate":
        return actor.post("/v1/elevate", {"password": actor.password}, token=actor.access)
    return actor.change(NEW)


def count_failures(service, *, subject: bool) -> int:
    """Return the counts of the sources, or of the account."""
    condition = "NOT LIKE" if subject else "LIKE"
    return service.scalar(
        f"SELECT coalesce(sum(count), 0) FROM failed_attempts WHERE id {condition} '% %'"
    )


def get_retry_after(answer) -> int:
    assert answer.status_code == 429, answer.text
    return int(answer.headers["Retry-After"])


# Delays.


def test_wait_doubles_with_each_failure_from_the_fifth(service):
    ann = service.actor().sign_up()
    assert guess(ann, FREE).status_code == 401
    for delay in DELAYS:
        assert guess(ann).status_code == 401
        assert get_retry_after(guess(ann)) == delay
        if delay > 1:
            service.clock.push(seconds=delay - 1)
            assert get_retry_after(guess(ann)) == 1
            service.clock.push(seconds=1)
        else:
            service.clock.push(seconds=delay)
    assert ann.login().status_code == 200


def test_unknown_name_is_answered_like_a_known_one(service):
    service.actor().sign_up()
    service.actor("cyd").sign_up()
    service.scalar("UPDATE accounts SET status = 'disabled' WHERE username = 'cyd' RETURNING id")
    bob = service.actor("bob")
    bob.register()
    typed = [
        "ann",
        "ann@example.org",
        "nobody-here",
        "nobody@example.org",
        "cyd",
        bob.username,
        "no name at all",
        "@@",
    ]
    for steps in ([0] * 6, [1, 2, 3, 4, 900], [0, 0]):
        for delay in steps:
            service.clock.push(seconds=delay)
            answers = {
                name: normalize_response(
                    service.actor(address=f"192.0.2.{number}").login(username=name, password=WRONG)
                )
                for number, name in enumerate(typed)
            }
            for name, answer in answers.items():
                assert answer == answers["nobody-here"], name
    assert answers["ann"][0] == 429


def test_throttled_answer_uses_standard_headers_and_reveals_nothing(sqlite_service):
    ann = sqlite_service.actor(address="203.0.113.77").sign_up()
    guess(ann, 7)
    sqlite_service.clock.push(seconds=1)
    guess(ann)
    answer = guess(ann)
    assert answer.content_type == "application/problem+json"
    assert answer.json["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert answer.json["code"] == "rate_limited"
    assert answer.json["violated-policies"] == ["password"]
    assert answer.headers["Retry-After"] == "2"
    assert answer.headers["RateLimit-Policy"] == '"password";q=1;w=2'
    assert answer.headers["RateLimit"] == '"password";r=0;t=2'
    assert not re.search("ann|203|acc_", answer.text.replace(answer.json["request_id"], ""))


def test_right_password_waits_too_and_waiting_is_not_counted(service):
    ann = service.actor().sign_up()
    guess(ann, 5)
    before = count_failures(service, subject=True), count_failures(service, subject=False)
    rows = service.scalar("SELECT count(*) FROM audit")
    wrong, right = guess(ann), ann.login()
    assert normalize_response(wrong) == normalize_response(right)
    assert get_retry_after(right) == 1
    assert (
        (count_failures(service, subject=True), count_failures(service, subject=False))
        == before
        == (5, 5)
    )
    assert service.scalar("SELECT count(*) FROM audit") == rows
    service.clock.push(seconds=1)
    assert ann.login().status_code == 200


def test_right_password_resets_the_count(service):
    ann = service.actor().sign_up()
    for _ in range(3):
        assert guess(ann, FREE).status_code == 401
        assert ann.login().status_code == 200
        assert count_failures(service, subject=True) == count_failures(service, subject=False) == 0


def test_login_by_name_or_email_and_password_change_share_the_count(service):
    ann = service.actor().sign_in()
    guess(ann, 2)
    guess(ann, 1, username=ann.email)
    guess(ann, 1, username="ＡＮＮ@Example.ORG")
    assert ann.change(NEW, old_password=WRONG).status_code == 403
    answers = [
        guess(ann),
        guess(ann, 1, username=ann.email),
        ann.change(NEW, old_password=WRONG),
        ann.change(NEW),
    ]
    assert [get_retry_after(answer) for answer in answers] == [1] * 4
    assert len({answer.headers["RateLimit-Policy"] for answer in answers}) == 1
    service.clock.push(seconds=1)
    assert ann.change(NEW, old_password=WRONG).status_code == 403
    assert get_retry_after(guess(ann)) == 2
    service.clock.push(seconds=2)
    assert ann.change(NEW).status_code == 200
    assert count_failures(service, subject=True) == count_failures(service, subject=False) == 0


def test_names_are_counted_in_canonical_form(sqlite_service):
    eve = sqlite_service.actor()
    spellings = [
        "nobody@example.org",
        "NOBODY@example.org",
        "nobody＠EXAMPLE.org",
        "Nobody@Example.Org",
        "nobody@example.org",
    ]
    assert [guess(eve, 1, username=name).status_code for name in spellings] == [401] * 5
    assert guess(eve, 1, username="NObody@example.org").status_code == 429


def test_another_source_is_not_throttled(service):
    ann = service.actor().sign_up()
    guess(ann, 5)
    assert guess(ann).status_code == 429
    assert ann.from_another_address().login().status_code == 200
    assert guess(ann).status_code == 429, "the attacker's source is still throttled"


def test_ipv6_prefix_64_is_one_source(sqlite_service):
    ann = sqlite_service.actor(address="2001:db8:1:1::1").sign_up()
    guess(ann, 3)
    ann.address = "2001:0db8:0001:0001:ffff::2"
    guess(ann, 2)
    assert guess(ann).status_code == 429
    assert ann.from_another_address(address="2001:db8:1:2::1").login().status_code == 200
    mapped = sqlite_service.actor("mapped", address="::ffff:192.0.2.1").sign_up()
    guess(mapped, 5)
    assert mapped.from_another_address(address="192.0.2.1").login().status_code == 429


def test_counters_survive_a_restart(make_service, database_url):
    first = make_service(database_url, **UNLIMITED).freeze_clock()
    ann = first.actor().sign_up()
    guess(ann, 6)
    first.clock.push(seconds=1)
    guess(ann)
    unknown_user = first.actor("nobody-here")
    guess(unknown_user, 5)
    second = Service(build_settings(database_url, **UNLIMITED))
    second.clock.freeze(first.clock.now())
    try:
        ann.service = unknown_user.service = second
        assert guess(ann).status_code == guess(unknown_user).status_code == 429
    finally:
        second.close()


def test_source_counter_expires_after_a_day_and_account_counter_does_not(service):
    ann = service.actor().sign_up()
    guess(ann, 5)
    guess(service.actor("nobody-here"), 5)
    service.clock.push(hours=23, minutes=59)
    delete_expired_data(service.units)
    assert (count_failures(service, subject=True), count_failures(service, subject=False)) == (
        10,
        10,
    )
    service.clock.push(minutes=2)
    delete_expired_data(service.units)
    assert (count_failures(service, subject=True), count_failures(service, subject=False)) == (5, 0)
    assert service.scalar("SELECT count FROM failed_attempts") == 5


def test_invalid_requests_are_not_counted(sqlite_service):
    ann = sqlite_service.actor().sign_in()
    for _ in range(6):
        assert ann.login(password="x" * 129).status_code == 422
        assert ann.login(device_token=7, password=WRONG).status_code == 422
        assert ann.change("short", old_password=WRONG).status_code == 422
        assert ann.change(NEW, old_password=WRONG, verify_password="x").status_code == 422
        assert ann.change(PASSWORD).status_code == 422
        assert ann.change(NEW, old_password=WRONG, token="junk").status_code == 401
        assert ann.request_password_reset().status_code == 202
        assert ann.reset(NEW, token="junk").status_code == 400
    assert sqlite_service.scalar("SELECT count(*) FROM failed_attempts") == 0


@pytest.mark.parametrize("check", ["login", "elevate", "change"])
def test_password_check_waits_for_attempts_in_flight(service, check):
    ann = service.actor().sign_in()
    guess(ann, 5)
    count = (
        "UPDATE failed_attempts SET count = {}, undecided = {} WHERE id LIKE 'acc% %' RETURNING id"
    )
    service.scalar(count.format(5, 5))
    succeed = threading.Timer(0.3, service.scalar, [count.format(0, 0)])
    succeed.start()
    answer = check_password(ann, check)
    succeed.join()
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("check", ["login", "elevate", "change"])
def test_password_check_does_not_wait_for_a_decided_attempt(service, check):
    ann = service.actor().sign_in()
    guess(ann, 5)
    assert get_retry_after(check_password(ann, check)) == 1


# The lockout after a hundred failures.


def test_hundred_failures_lock_the_password_until_a_reset(service):
    ann = service.actor().sign_in()
    attacker = service.actor()
    for number in range(MAX_FAILURES):
        attacker.address = f"198.51.{number // 16}.{number % 16}"
        assert guess(attacker, 1, username=("ann", ann.email)[number % 2]).status_code == 401
    right = normalize_response(ann.login())
    assert (
        right
        == normalize_response(guess(ann))
        == normalize_response(guess(service.actor("nobody-here")))
    )
    assert right[0] == 401
    assert ann.change(NEW).status_code == 403, "name and email share a counter"
    assert count_failures(service, subject=True) - 1 == MAX_FAILURES, (
        "a throttled attempt counts only for its source"
    )
    assert ann.whoami().status_code == 200
    assert ann.refresh().status_code == 200
    assert service.scalar("SELECT count(*) FROM audit WHERE event = 'password.locked'") == 3

    assert ann.request_password_reset().status_code == 202
    assert ann.reset(NEW).status_code == 204
    assert service.scalar("SELECT count(*) FROM failed_attempts WHERE id LIKE 'acc%'") == 0
    assert ann.login().status_code == 200


@pytest.mark.parametrize("check", ["login", "elevate", "change"])
def test_locked_password_is_audited_alike_by_every_check(service, check):
    ann = service.actor().sign_in()
    guess(ann)
    service.scalar("UPDATE failed_attempts SET count = 100 WHERE id NOT LIKE '% %' RETURNING id")
    assert check_password(ann, check).status_code in {401, 403}
    latest = "SELECT event FROM audit ORDER BY id DESC LIMIT 1"
    assert service.scalar(latest) == "password.locked"


def test_hundredth_attempt_can_still_succeed(sqlite_service):
    ann = sqlite_service.actor().sign_up()
    for number in range(MAX_FAILURES - 1):
        guess(sqlite_service.actor("ann", address=f"198.51.{number // 16}.{number % 16}"))
    assert ann.login().status_code == 200
    assert guess(ann, 3).status_code == 401
    assert ann.login().status_code == 200


def test_guessing_affects_neither_sessions_nor_trusted_devices_nor_resets(service):
    ann = service.actor().sign_up()
    ann.login(remember_device=True)
    device = ann.tokens["device_token"]
    for number in range(120):
        assert (
            guess(service.actor("ann", address=f"198.51.{number // 16}.{number % 16}")).status_code
            == 401
        )
    assert ann.whoami().status_code == 200
    ann.tokens = ann.refresh().json
    assert ann.whoami().status_code == 200
    assert ann.from_another_address().login().status_code == 401
    abroad = ann.from_another_address()
    assert abroad.login(device_token=device).status_code == 200
    assert ann.from_another_address().login().status_code == 200, (
        "the success reset the consecutive failures"
    )
    assert ann.request_password_reset(email=ann.email).status_code == 202
    assert ann.reset(NEW).status_code == 204
    assert ann.login().status_code == 200


def test_requesting_links_does_not_lock_out_the_owner(service):
    ann = service.actor().sign_in()
    for _ in range(30):
        assert service.actor().request_password_reset(username="ann").status_code == 202
    assert ann.from_another_address().login().status_code == 200
    assert ann.whoami().status_code == 200


# A full hash queue.


class Full:
    """A hash queue in which a new hash would wait for minutes."""

    def __init__(self, service) -> None:
        self._hasher = service.units.hasher

    def __enter__(self) -> None:
        self._seconds = self._hasher._seconds
        self._hasher._pending += 1000
        self._hasher._seconds = 1.0

    def __exit__(self, *_error: object) -> None:
        self._hasher._pending -= 1000
        self._hasher._seconds = self._seconds


@pytest.fixture
def busy_service(make_service, database_url):
    return make_service(database_url, capacity=Capacity(threads=2), **UNLIMITED).freeze_clock()


@pytest.mark.parametrize("failures", [0, 4, 9])
def test_attempt_refused_by_the_full_hash_queue_is_not_counted(busy_service, failures):
    ann = busy_service.actor().sign_in()
    for _ in range(failures):
        busy_service.clock.push(seconds=900)
        assert guess(ann).status_code == 401
    busy_service.clock.push(seconds=900)
    ann.tokens = ann.refresh().json
    with Full(busy_service):
        for answer in (
            guess(ann),
            ann.login(),
            ann.change(NEW),
            guess(busy_service.actor("nobody-here")),
        ):
            assert answer.status_code == 503
            assert answer.json["code"] == "busy"
    assert (
        busy_service.scalar(
            "SELECT coalesce(sum(count), 0) FROM failed_attempts WHERE id NOT LIKE '% %'"
        )
        == failures
    )
    assert ann.login().status_code == 200, "the request is not throttled either"


def test_full_hash_queue_after_the_right_password_counts_no_failure(busy_service):
    ann = busy_service.actor().sign_in()
    hash_now, hasher = busy_service.units.hasher.hash, busy_service.units.hasher

    def verify_without_slots(password: str) -> str:
        with Full(busy_service):
            return hash_now(password)

    hasher.hash = verify_without_slots
    assert ann.change(NEW).status_code == 503
    hasher.hash = hash_now
    assert count_failures(busy_service, subject=True) == 0
    assert ann.change(NEW).status_code == 200


# Cost.


class Statements:
    """Record the SQL statements, without those of the first request of a process."""

    def __init__(self, service) -> None:
        self._engine = service.units.database.engine
        self.sent: list[str] = []

    def _record(self, _connection, _cursor, statement, *_rest) -> None:
        if not statement.startswith("PRAGMA") and statement != "BEGIN IMMEDIATE":
            self.sent.append(statement)

    def __enter__(self) -> list[str]:
        event.listen(self._engine, "before_cursor_execute", self._record)
        return self.sent

    def __exit__(self, *_error: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._record)


def test_ordinary_login_takes_seven_statements(service):
    ann = service.actor().sign_in()
    with Statements(service) as sent:
        assert ann.login().status_code == 200
    assert len(sent) <= 7, sent


def test_failed_login_sends_the_same_statements_for_every_name(service):
    ann = service.actor().sign_up()
    service.actor("cyd").sign_up()
    service.scalar("UPDATE accounts SET status = 'disabled' WHERE username = 'cyd' RETURNING id")
    attacker = service.actor("eve").sign_up()
    attacker.login(remember_device=True)
    theirs = attacker.tokens["device_token"]
    sent = {}
    for name in ("ann", ann.email, "nobody-here", "nobody@example.org", "cyd", "no name"):
        for token in (None, "junk", theirs):
            with Statements(service) as sent[name, token]:
                service.actor("x").login(
                    username=name, password=WRONG, **({"device_token": token} if token else {})
                )
    for token in (None, "junk", theirs):
        lengths = {
            name: [statement.split()[0] for statement in found]
            for (name, kind), found in sent.items()
            if kind == token
        }
        assert len({str(found) for found in lengths.values()}) == 1, (token, lengths)


def test_link_request_sends_the_same_statements_with_or_without_an_email(service):
    service.actor().sign_up()
    sent = {}
    for name in ("ann", "nobody-here", "nobody@example.org", "ann@example.org", "no name"):
        with Statements(service) as sent[name]:
            assert service.actor().request_password_reset(username=name).status_code == 202
    assert (
        len({str([statement.split()[0] for statement in found]) for found in sent.values()}) == 1
    ), sent
    assert len(sent["ann"]) <= 5, sent["ann"]
