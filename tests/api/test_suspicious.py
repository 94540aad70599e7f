"""Suspicious sessions: who can report them, what ends, and how a report is withdrawn."""

from __future__ import annotations

import pytest

from app.opaque_tokens import generate_id
from tests.actors import Actor
from tests.authorization import get_account_id, sign_in_with_role


def sign_in_twice(service) -> tuple[Actor, Actor]:
    """Return a user with two sessions from different IP addresses."""
    ann = service.actor().sign_in()
    other = ann.from_another_address(agent="elsewhere/1")
    assert other.login(device_name="a phone").status_code == 200
    return ann, other


@pytest.fixture
def two_sessions(service) -> tuple[Actor, Actor]:
    """On SQLite, then on PostgreSQL."""
    return sign_in_twice(service)


@pytest.fixture
def sqlite_sessions(sqlite_service) -> tuple[Actor, Actor]:
    """On SQLite."""
    return sign_in_twice(sqlite_service)


@pytest.fixture
def boss(sqlite_sessions) -> Actor:
    return sign_in_with_role(sqlite_sessions[0].service, "boss", "admin")


def get_session_id(actor: Actor) -> str:
    return actor.tokens["session_id"]


def report(actor: Actor, session_id: str):
    return actor.post(f"/v1/sessions/{session_id}/suspicious", token=actor.access)


def withdraw_report(actor: Actor, session_id: str):
    return actor.call("DELETE", f"/v1/sessions/{session_id}/suspicious", token=actor.access)


def get_status(actor: Actor, session_id: str) -> tuple[str, str | None]:
    answer = actor.get(f"/v1/sessions/{session_id}", token=actor.access)
    assert answer.status_code == 200, answer.text
    return answer.json["status"], answer.json["reason"]


def list_emails(actor: Actor, template: str) -> list[str]:
    """Return the texts of the emails of one template, newest first."""
    messages = actor.service.mailbox(actor.email)
    return [mail["text"] for mail in messages if mail["template"] == template]


def start_device_login(actor: Actor):
    """Start a device login."""
    return actor.post("/v1/login-sessions", {"client_name": "a program"})


def list_events(service, event: str) -> list[tuple[str, str]]:
    """Return the session and actor of each event."""
    actor = "detail->>'actor'"
    with service.open_database() as db:
        found = db.connection().exec_driver_sql(
            f"SELECT account_id, {actor} FROM audit WHERE event = '{event}' ORDER BY id"
        )
        return [tuple(row) for row in found.all()]


def get_status_and_code(answer) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


# Reports.


def test_suspicious_session_ends_at_once_and_others_stay_live(two_sessions):
    ann, other = two_sessions
    assert report(ann, get_session_id(other)).status_code == 204
    assert other.whoami().status_code == 401
    assert get_status_and_code(other.refresh()) == (400, "invalid_grant")
    assert ann.whoami().status_code == 200
    assert get_status(ann, get_session_id(other)) == ("suspicious", "reported")
    assert [item["id"] for item in ann.get("/v1/sessions", token=ann.access).json["items"]] == [
        get_session_id(ann)
    ]


def test_owner_is_emailed_once(two_sessions):
    ann, other = two_sessions
    for _ in range(2):
        assert report(ann, get_session_id(other)).status_code == 204
    (text,) = list_emails(ann, "reported_session")
    assert "administrator" not in text
    assert "a phone" in text
    assert other.address in text
    assert list_events(ann.service, "session.suspicious") == [
        (get_account_id(ann), get_account_id(ann))
    ]


def test_email_is_in_the_owners_language(sqlite_sessions):
    ann, other = sqlite_sessions
    ann.call("PATCH", "/v1/me", json={"locale": "de-AT"}, token=ann.access)
    report(ann, get_session_id(other))
    assert (ann.mail()["template"], ann.mail()["language"]) == ("reported_session", "de")


def test_current_session_can_be_marked(sqlite_sessions):
    ann, other = sqlite_sessions
    assert report(ann, get_session_id(ann)).status_code == 204
    assert ann.whoami().status_code == 401
    assert get_status(other, get_session_id(ann)) == ("suspicious", "reported")


def test_ended_session_can_be_marked(two_sessions):
    ann, other = two_sessions
    other.logout()
    ended = ann.get(f"/v1/sessions/{get_session_id(other)}", token=ann.access).json["ended_at"]
    ann.service.clock.push(minutes=4)
    assert report(ann, get_session_id(other)).status_code == 204
    assert get_status(ann, get_session_id(other)) == ("suspicious", "reported")
    assert (
        ann.get(f"/v1/sessions/{get_session_id(other)}", token=ann.access).json["ended_at"] == ended
    )
    assert len(list_emails(ann, "reported_session")) == 1
    assert ann.whoami().status_code == 200


def test_login_from_the_suspicious_source_counts_as_new(sqlite_sessions):
    ann, other = sqlite_sessions
    before = len(list_emails(ann, "new_login"))
    first = get_session_id(other)
    other.login()
    assert len(list_emails(ann, "new_login")) == before
    for session_id in (first, get_session_id(other)):
        report(ann, session_id)
    other.login()
    assert len(list_emails(ann, "new_login")) == before + 1


def test_sessions_of_others_cannot_be_marked(sqlite_sessions):
    _, other = sqlite_sessions
    bob = other.service.actor("bob").sign_in()
    for session_id in (get_session_id(other), generate_id("ses"), "x", get_account_id(other)):
        for answer in (report(bob, session_id), withdraw_report(bob, session_id)):
            assert get_status_and_code(answer) == (404, "not_found")
    assert other.whoami().status_code == 200


# Reports by an administrator.


def test_administrator_can_mark_any_session_with_recent_authentication(two_sessions):
    ann, other = two_sessions
    boss = sign_in_with_role(ann.service, "boss", "admin")
    assert report(boss, get_session_id(other)).status_code == 204
    assert other.whoami().status_code == 401
    assert ann.whoami().status_code == 200
    (text,) = list_emails(ann, "reported_session")
    assert "administrator" in text
    assert list_events(ann.service, "session.suspicious") == [
        (get_account_id(ann), get_account_id(boss))
    ]
    assert get_status_and_code(report(boss, generate_id("ses"))) == (404, "not_found")


def test_without_recent_authentication_only_own_sessions_can_be_marked(sqlite_sessions, boss):
    ann, elsewhere = sqlite_sessions
    other = boss.from_another_address()
    other.login()
    boss.service.clock.push(minutes=6)
    boss.tokens |= boss.refresh().json
    for session_id in (get_session_id(elsewhere), generate_id("ses")):
        answer = report(boss, session_id)
        assert get_status_and_code(answer) == (401, "reauthentication_required")
        assert 'max_age="300"' in answer.headers["WWW-Authenticate"]
    assert report(boss, get_session_id(other)).status_code == 204
    assert (
        ann.service.scalar(
            "SELECT status FROM sessions WHERE id = :id", id=get_session_id(elsewhere)
        )
        == "live"
    )


def test_former_administrator_is_refused(sqlite_sessions, boss):
    ann, other = sqlite_sessions
    ann.service.scalar(
        "DELETE FROM account_roles WHERE account_id = :id RETURNING role", id=get_account_id(boss)
    )
    assert get_status_and_code(report(boss, get_session_id(other))) == (404, "not_found")
    assert other.whoami().status_code == 200


# The source.


def test_source_can_start_one_device_login_in_ten_minutes_for_a_day(sqlite_sessions):
    ann, other = sqlite_sessions
    assert [start_device_login(other).status_code for _ in range(3)] == [201] * 3
    report(ann, get_session_id(other))
    assert start_device_login(other).status_code == 201
    refused = start_device_login(other)
    assert get_status_and_code(refused) == (429, "rate_limited")
    assert refused.json["violated-policies"] == ["suspect"]
    assert start_device_login(ann).status_code == 201
    assert 0 < int(refused.headers["Retry-After"]) <= 600
    ann.service.units.limiter.reset()  # it uses the clock of the machine
    ann.service.clock.push(hours=23)
    assert [start_device_login(other).status_code for _ in range(2)] == [201, 429]
    ann.service.clock.push(hours=1)
    assert [start_device_login(other).status_code for _ in range(3)] == [201] * 3


def test_source_of_a_reused_refresh_token_is_limited_too(two_sessions):
    ann, other = two_sessions
    attacker = ann.from_another_address()
    used = other.tokens["refresh_token"]
    other.refresh()
    ann.service.clock.push(seconds=31)
    assert get_status_and_code(attacker.refresh(used)) == (400, "invalid_grant")
    assert get_status(ann, get_session_id(other)) == ("suspicious", "refresh_reuse")
    assert [start_device_login(attacker).status_code for _ in range(2)] == [201, 429]
    assert [start_device_login(other).status_code for _ in range(2)] == [201] * 2
    assert withdraw_report(ann, get_session_id(other)).status_code == 204
    assert start_device_login(attacker).status_code == 201


# Withdrawal.


def test_unmarking_frees_the_source_and_revives_nothing(two_sessions):
    ann, other = two_sessions
    report(ann, get_session_id(other))
    assert [start_device_login(other).status_code for _ in range(2)] == [201, 429]
    assert withdraw_report(ann, get_session_id(other)).status_code == 204
    assert get_status(ann, get_session_id(other)) == ("revoked", "cleared")
    assert start_device_login(other).status_code == 201
    assert other.whoami().status_code == 401
    assert get_status_and_code(other.refresh()) == (400, "invalid_grant")
    assert list_events(ann.service, "session.cleared") == [
        (get_account_id(ann), get_account_id(ann))
    ]
    assert get_status_and_code(withdraw_report(ann, get_session_id(other))) == (
        409,
        "session_not_suspicious",
    )
    assert report(ann, get_session_id(other)).status_code == 204  # it was the user after all
    assert get_status(ann, get_session_id(other)) == ("suspicious", "reported")


def test_repeated_marking_does_not_repeat_the_email(sqlite_sessions):
    ann, other = sqlite_sessions
    for _ in range(3):
        assert report(ann, get_session_id(other)).status_code == 204
        assert withdraw_report(ann, get_session_id(other)).status_code == 204
    assert len(list_emails(ann, "reported_session")) == 1


def test_session_that_is_not_marked_cannot_be_unmarked(sqlite_sessions):
    ann, other = sqlite_sessions
    assert get_status_and_code(withdraw_report(ann, get_session_id(other))) == (
        409,
        "session_not_suspicious",
    )
    assert other.whoami().status_code == 200


def test_mark_of_another_session_stays(sqlite_sessions):
    ann, other = sqlite_sessions
    first = get_session_id(other)
    other.login()
    for session_id in (first, get_session_id(other)):
        report(ann, session_id)
    start_device_login(other)
    withdraw_report(ann, first)
    assert start_device_login(other).status_code == 429
    withdraw_report(ann, get_session_id(other))
    assert start_device_login(other).status_code == 201


def test_unmarking_an_old_session_keeps_newer_marks(sqlite_sessions):
    """Otherwise an old report could free an IP address from the reports of others."""
    ann, other = sqlite_sessions
    service = ann.service
    mallory = service.actor("mallory", address=other.address).sign_in()
    report(mallory, get_session_id(mallory))
    service.clock.push(hours=25)
    for actor in (ann, mallory):
        actor.login()
    old = service.scalar("SELECT id FROM sessions WHERE status = 'suspicious'")
    report(ann, get_session_id(other))
    start_device_login(mallory)
    assert withdraw_report(mallory, old).status_code == 204
    assert start_device_login(mallory).status_code == 429


def test_unmarking_a_late_mark_frees_the_source_too(two_sessions):
    ann, other = two_sessions
    session_id = get_session_id(other)
    other.post("/v1/logout", token=other.access)
    ann.service.clock.push(days=2)
    ann.login()
    report(ann, session_id)
    assert [start_device_login(other).status_code for _ in range(2)] == [201, 429]
    assert withdraw_report(ann, session_id).status_code == 204
    assert start_device_login(other).status_code == 201


def test_unmarking_requires_recent_authentication(sqlite_sessions, boss):
    ann, other = sqlite_sessions
    report(ann, get_session_id(other))
    ann.service.clock.push(minutes=6)
    for actor in (ann, boss):
        actor.tokens |= actor.refresh().json
        assert get_status_and_code(withdraw_report(actor, get_session_id(other))) == (
            401,
            "reauthentication_required",
        )
    boss.login()
    assert withdraw_report(boss, get_session_id(other)).status_code == 204
    assert list_events(ann.service, "session.cleared") == [
        (get_account_id(ann), get_account_id(boss))
    ]
    assert get_status(ann, get_session_id(other)) == ("revoked", "cleared")
