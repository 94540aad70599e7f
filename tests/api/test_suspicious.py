"""Suspicious sessions: who can report them, what ends, and how a report is withdrawn."""

from __future__ import annotations

import pytest

from app.opaque_tokens import generate_id
from tests.actors import Actor
from tests.authorization import get_account_id, sign_in_with_role


def two_places(service) -> tuple[Actor, Actor]:
    """A user signed in at home and elsewhere."""
    ann = service.actor().sign_in()
    elsewhere = ann.from_another_address(agent="elsewhere/1")
    assert elsewhere.login(device_name="a phone").status_code == 200
    return ann, elsewhere


@pytest.fixture
def both(service) -> tuple[Actor, Actor]:
    """On SQLite, then on PostgreSQL."""
    return two_places(service)


@pytest.fixture
def pair(sqlite_service) -> tuple[Actor, Actor]:
    """On SQLite."""
    return two_places(sqlite_service)


@pytest.fixture
def boss(pair) -> Actor:
    return sign_in_with_role(pair[0].service, "boss", "admin")


def id_of(actor: Actor) -> str:
    return actor.tokens["session_id"]


def report(actor: Actor, session_id: str):
    return actor.post(f"/v1/sessions/{session_id}/suspicious", token=actor.access)


def take_back(actor: Actor, session_id: str):
    return actor.call("DELETE", f"/v1/sessions/{session_id}/suspicious", token=actor.access)


def shown(actor: Actor, session_id: str) -> tuple[str, str | None]:
    answer = actor.get(f"/v1/sessions/{session_id}", token=actor.access)
    assert answer.status_code == 200, answer.text
    return answer.json["status"], answer.json["reason"]


def mails(actor: Actor, template: str) -> list[str]:
    """Return the texts of the emails of one template, newest first."""
    messages = actor.service.mailbox(actor.email)
    return [mail["text"] for mail in messages if mail["template"] == template]


def ask(actor: Actor):
    """Start a device login."""
    return actor.post("/v1/login-sessions", {"client_name": "a program"})


def events(service, event: str) -> list[tuple[str, str]]:
    """Return the session and actor of each event."""
    actor = "detail->>'actor'"
    with service.open_database() as db:
        found = db.connection().exec_driver_sql(
            f"SELECT account_id, {actor} FROM audit WHERE event = '{event}' ORDER BY id"
        )
        return [tuple(row) for row in found.all()]


def code(answer) -> tuple[int, str]:
    return answer.status_code, answer.json["code"]


# Reports.


def test_suspicious_session_ends_at_once_and_others_stay_live(both):
    ann, elsewhere = both
    assert report(ann, id_of(elsewhere)).status_code == 204
    assert elsewhere.whoami().status_code == 401
    assert code(elsewhere.refresh()) == (400, "invalid_grant")
    assert ann.whoami().status_code == 200
    assert shown(ann, id_of(elsewhere)) == ("suspicious", "reported")
    assert [item["id"] for item in ann.get("/v1/sessions", token=ann.access).json["items"]] == [
        id_of(ann)
    ]


def test_owner_is_emailed_once(both):
    ann, elsewhere = both
    for _ in range(2):
        assert report(ann, id_of(elsewhere)).status_code == 204
    (text,) = mails(ann, "reported_session")
    assert "administrator" not in text
    assert "a phone" in text
    assert elsewhere.address in text
    assert events(ann.service, "session.suspicious") == [(get_account_id(ann), get_account_id(ann))]


def test_email_is_in_the_owners_language(pair):
    ann, elsewhere = pair
    ann.call("PATCH", "/v1/me", json={"locale": "de-AT"}, token=ann.access)
    report(ann, id_of(elsewhere))
    assert (ann.mail()["template"], ann.mail()["language"]) == ("reported_session", "de")


def test_current_session_can_be_marked(pair):
    ann, elsewhere = pair
    assert report(ann, id_of(ann)).status_code == 204
    assert ann.whoami().status_code == 401
    assert shown(elsewhere, id_of(ann)) == ("suspicious", "reported")


def test_ended_session_can_be_marked(both):
    ann, elsewhere = both
    elsewhere.logout()
    ended = ann.get(f"/v1/sessions/{id_of(elsewhere)}", token=ann.access).json["ended_at"]
    ann.service.clock.push(minutes=4)
    assert report(ann, id_of(elsewhere)).status_code == 204
    assert shown(ann, id_of(elsewhere)) == ("suspicious", "reported")
    assert ann.get(f"/v1/sessions/{id_of(elsewhere)}", token=ann.access).json["ended_at"] == ended
    assert len(mails(ann, "reported_session")) == 1
    assert ann.whoami().status_code == 200


def test_login_from_the_suspicious_source_counts_as_new(pair):
    ann, elsewhere = pair
    told = len(mails(ann, "new_login"))
    first = id_of(elsewhere)
    elsewhere.login()
    assert len(mails(ann, "new_login")) == told
    for session_id in (first, id_of(elsewhere)):
        report(ann, session_id)
    elsewhere.login()
    assert len(mails(ann, "new_login")) == told + 1


def test_sessions_of_others_cannot_be_marked(pair):
    _, elsewhere = pair
    bob = elsewhere.service.actor("bob").sign_in()
    for session_id in (id_of(elsewhere), generate_id("ses"), "x", get_account_id(elsewhere)):
        for answer in (report(bob, session_id), take_back(bob, session_id)):
            assert code(answer) == (404, "not_found")
    assert elsewhere.whoami().status_code == 200


# Reports by an administrator.


def test_administrator_can_mark_any_session_with_recent_authentication(both):
    ann, elsewhere = both
    boss = sign_in_with_role(ann.service, "boss", "admin")
    assert report(boss, id_of(elsewhere)).status_code == 204
    assert elsewhere.whoami().status_code == 401
    assert ann.whoami().status_code == 200
    (text,) = mails(ann, "reported_session")
    assert "administrator" in text
    assert events(ann.service, "session.suspicious") == [
        (get_account_id(ann), get_account_id(boss))
    ]
    assert code(report(boss, generate_id("ses"))) == (404, "not_found")


def test_without_recent_authentication_only_own_sessions_can_be_marked(pair, boss):
    ann, elsewhere = pair
    other = boss.from_another_address()
    other.login()
    boss.service.clock.push(minutes=6)
    boss.tokens |= boss.refresh().json
    for session_id in (id_of(elsewhere), generate_id("ses")):
        answer = report(boss, session_id)
        assert code(answer) == (401, "reauthentication_required")
        assert 'max_age="300"' in answer.headers["WWW-Authenticate"]
    assert report(boss, id_of(other)).status_code == 204
    assert (
        ann.service.scalar("SELECT status FROM sessions WHERE id = :id", id=id_of(elsewhere))
        == "live"
    )


def test_former_administrator_is_refused(pair, boss):
    ann, elsewhere = pair
    ann.service.scalar(
        "DELETE FROM account_roles WHERE account_id = :id RETURNING role", id=get_account_id(boss)
    )
    assert code(report(boss, id_of(elsewhere))) == (404, "not_found")
    assert elsewhere.whoami().status_code == 200


# The source.


def test_source_can_start_one_device_login_in_ten_minutes_for_a_day(pair):
    ann, elsewhere = pair
    assert [ask(elsewhere).status_code for _ in range(3)] == [201] * 3
    report(ann, id_of(elsewhere))
    assert ask(elsewhere).status_code == 201
    refused = ask(elsewhere)
    assert code(refused) == (429, "rate_limited")
    assert refused.json["violated-policies"] == ["suspect"]
    assert ask(ann).status_code == 201
    assert 0 < int(refused.headers["Retry-After"]) <= 600
    ann.service.units.limiter.reset()  # it uses the clock of the machine
    ann.service.clock.push(hours=23)
    assert [ask(elsewhere).status_code for _ in range(2)] == [201, 429]
    ann.service.clock.push(hours=1)
    assert [ask(elsewhere).status_code for _ in range(3)] == [201] * 3


def test_source_of_a_reused_refresh_token_is_limited_too(both):
    ann, elsewhere = both
    thief = ann.from_another_address()
    used = elsewhere.tokens["refresh_token"]
    elsewhere.refresh()
    ann.service.clock.push(seconds=31)
    assert code(thief.refresh(used)) == (400, "invalid_grant")
    assert shown(ann, id_of(elsewhere)) == ("suspicious", "refresh_reuse")
    assert [ask(thief).status_code for _ in range(2)] == [201, 429]
    assert [ask(elsewhere).status_code for _ in range(2)] == [201] * 2
    assert take_back(ann, id_of(elsewhere)).status_code == 204
    assert ask(thief).status_code == 201


# Withdrawal.


def test_unmarking_frees_the_source_and_revives_nothing(both):
    ann, elsewhere = both
    report(ann, id_of(elsewhere))
    assert [ask(elsewhere).status_code for _ in range(2)] == [201, 429]
    assert take_back(ann, id_of(elsewhere)).status_code == 204
    assert shown(ann, id_of(elsewhere)) == ("revoked", "cleared")
    assert ask(elsewhere).status_code == 201
    assert elsewhere.whoami().status_code == 401
    assert code(elsewhere.refresh()) == (400, "invalid_grant")
    assert events(ann.service, "session.cleared") == [(get_account_id(ann), get_account_id(ann))]
    assert code(take_back(ann, id_of(elsewhere))) == (409, "session_not_suspicious")
    assert report(ann, id_of(elsewhere)).status_code == 204  # it was the user after all
    assert shown(ann, id_of(elsewhere)) == ("suspicious", "reported")


def test_repeated_marking_does_not_repeat_the_email(pair):
    ann, elsewhere = pair
    for _ in range(3):
        assert report(ann, id_of(elsewhere)).status_code == 204
        assert take_back(ann, id_of(elsewhere)).status_code == 204
    assert len(mails(ann, "reported_session")) == 1


def test_session_that_is_not_marked_cannot_be_unmarked(pair):
    ann, elsewhere = pair
    assert code(take_back(ann, id_of(elsewhere))) == (409, "session_not_suspicious")
    assert elsewhere.whoami().status_code == 200


def test_mark_of_another_session_stays(pair):
    ann, elsewhere = pair
    first = id_of(elsewhere)
    elsewhere.login()
    for session_id in (first, id_of(elsewhere)):
        report(ann, session_id)
    ask(elsewhere)
    take_back(ann, first)
    assert ask(elsewhere).status_code == 429
    take_back(ann, id_of(elsewhere))
    assert ask(elsewhere).status_code == 201


def test_unmarking_an_old_session_keeps_newer_marks(pair):
    """Otherwise an old report could free an IP address from the reports of others."""
    ann, elsewhere = pair
    service = ann.service
    mallory = service.actor("mallory", address=elsewhere.address).sign_in()
    report(mallory, id_of(mallory))
    service.clock.push(hours=25)
    for actor in (ann, mallory):
        actor.login()
    old = service.scalar("SELECT id FROM sessions WHERE status = 'suspicious'")
    report(ann, id_of(elsewhere))
    ask(mallory)
    assert take_back(mallory, old).status_code == 204
    assert ask(mallory).status_code == 429


def test_unmarking_a_late_mark_frees_the_source_too(both):
    ann, elsewhere = both
    session_id = id_of(elsewhere)
    elsewhere.post("/v1/logout", token=elsewhere.access)
    ann.service.clock.push(days=2)
    ann.login()
    report(ann, session_id)
    assert [ask(elsewhere).status_code for _ in range(2)] == [201, 429]
    assert take_back(ann, session_id).status_code == 204
    assert ask(elsewhere).status_code == 201


def test_unmarking_requires_recent_authentication(pair, boss):
    ann, elsewhere = pair
    report(ann, id_of(elsewhere))
    ann.service.clock.push(minutes=6)
    for actor in (ann, boss):
        actor.tokens |= actor.refresh().json
        assert code(take_back(actor, id_of(elsewhere))) == (401, "reauthentication_required")
    boss.login()
    assert take_back(boss, id_of(elsewhere)).status_code == 204
    assert events(ann.service, "session.cleared") == [(get_account_id(ann), get_account_id(boss))]
    assert shown(ann, id_of(elsewhere)) == ("revoked", "cleared")
