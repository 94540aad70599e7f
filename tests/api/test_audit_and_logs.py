"""Audit events and log lines of each event, and secrets that neither may contain."""

from __future__ import annotations

import json
import re
from datetime import datetime
from itertools import chain

import pytest
from sqlalchemy import inspect, text

from app.audit.record import Event
from tests.actors import SECRET
from tests.authorization import get_account_id, sign_in_with_role
from tests.device_logins import Device, claim, decide


@pytest.fixture
def lines(capfd):
    """Return a function that parses the log lines since its last call; each must be JSON."""
    return lambda: [json.loads(line) for line in capfd.readouterr().out.splitlines() if line]


# Events of operators or the service itself, which other tests cover.
OF_NO_REQUEST = {
    Event.SIGNING_KEY_CREATED,
    Event.SIGNING_KEY_REVOKED,
    Event.FIRST_ADMIN_INVITED,
    Event.ACCOUNTS_IMPORTED,
    Event.API_KEY_EXPIRING,
    Event.ACCOUNT_ERASED,
}


def list_audit_events(service) -> list:
    with service.open_database() as db:
        return db.execute(
            text(
                "SELECT event, account_id, session_id, source, user_agent, request_id, detail, at FROM audit ORDER BY id"
            )
        ).all()


def dump_database(service) -> str:
    """Return all values of all tables as text."""
    with service.open_database() as db:
        tables = inspect(db.connection()).get_table_names()
        assert {"accounts", "sessions", "outbox", "audit", "signing_keys", "revocations"} <= set(
            tables
        )
        return "\n".join(
            str(row) for table in tables for row in db.execute(text(f"SELECT * FROM {table}")).all()
        )


def use_sessions(service, ann):
    """Yield steps of ann: event, response, recorded reason, whether the account is known."""
    yield "registration.requested", ann.register(), None, False
    yield (
        "registration.resent",
        ann.post("/v1/register/resend", {"registration": ann.registration}),
        None,
        False,
    )
    yield "confirmation.refused", ann.confirm(code="BBBB-BBBB"), None, False
    yield "account.confirmed", ann.confirm(), None, True
    yield "login.failed", ann.login(username="nobody-here"), None, False
    yield "login.failed", ann.login(password="wrong horse battery staple"), None, True
    yield "login.succeeded", ann.login(), None, True
    yield (
        "account.changed",
        ann.call("PATCH", "/v1/me", json={"name": "Anna"}, token=ann.access),
        None,
        True,
    )
    yield "sessions.ended", ann.call("DELETE", "/v1/sessions", token=ann.access), "others", True
    yield "session.ended", ann.logout(), "logout", True
    ann.login()
    yield (
        "session.ended",
        ann.call("DELETE", f"/v1/sessions/{ann.tokens['session_id']}", token=ann.access),
        "ended_by_owner",
        True,
    )
    ann.login()
    yield "sessions.ended", ann.post("/v1/logout-all", token=ann.access), "logout_all", True
    ann.login()
    ann.refresh()
    service.clock.push(seconds=31)
    yield "refresh_token.reuse_detected", ann.refresh(), None, True
    ann.login()
    suspicious = f"/v1/sessions/{ann.tokens['session_id']}/suspicious"
    yield "session.suspicious", ann.post(suspicious, token=ann.access), "reported", True
    ann.login()
    yield "session.cleared", ann.call("DELETE", suspicious, token=ann.access), None, True
    ahead = ann.refresh().json["refresh_token"]
    ahead = ann.refresh(ahead).json["refresh_token"]
    service.scalar(
        "UPDATE sessions SET rt_counter = 0 WHERE id = :id RETURNING id",
        id=ann.tokens["session_id"],
    )
    yield "refresh_token.ahead_of_database", ann.refresh(ahead), None, True
    # A suspicious source would be rate limited in the next steps.
    service.scalar("DELETE FROM failed_attempts WHERE id LIKE 'suspect %' RETURNING id")


def use_passwords(service, ann):
    """Yield steps with passwords and trusted devices."""
    remembered_login = ann.login(remember_device=True)
    yield "login.succeeded", remembered_login, None, True
    yield "device.remembered", remembered_login, None, True
    device = ann.get("/v1/devices", token=ann.access).json["items"][0]["id"]
    yield (
        "device.forgotten",
        ann.call("DELETE", f"/v1/devices/{device}", token=ann.access),
        None,
        True,
    )
    yield (
        "password.refused",
        ann.change("another sentence of some words", old_password="wrong"),
        None,
        True,
    )
    yield "password.changed", ann.change("another sentence of some words"), None, True
    yield (
        "password.reset_requested",
        ann.request_password_reset(username="nobody-here"),
        None,
        False,
    )
    yield "password.reset_requested", ann.request_password_reset(), None, True
    yield "password.reset", ann.reset("one more sentence of some words"), None, True
    service.scalar("UPDATE accounts SET must_change_since = created_at RETURNING id")
    yield "password.change_required", ann.login(), None, True
    ann.login(password="wrong")
    service.scalar(
        "UPDATE failed_attempts SET count = 100 WHERE id LIKE 'acc%' AND id NOT LIKE '% %' RETURNING id"
    )
    yield "password.locked", ann.login(), None, True


def use_api_keys(ann):
    """Yield steps with API keys."""
    ann.login()
    created = ann.post("/v1/api-keys", {"name": "ci", "scopes": []}, token=ann.access)
    path = f"/v1/api-keys/{created.json['id']}"
    yield "api_key.created", created, None, True
    yield (
        "api_key.changed",
        ann.call("PATCH", path, json={"name": "build"}, token=ann.access),
        None,
        True,
    )
    yield "api_key.rotated", ann.post(f"{path}/rotate", token=ann.access), None, True
    yield "api_key.deleted", ann.call("DELETE", path, token=ann.access), None, True
    leaked = ann.post("/v1/api-keys", {"name": "ci", "scopes": []}, token=ann.access).json["key"]
    yield "api_key.leaked", ann.post("/v1/api-keys/report-leak", {"key": leaked}), None, True


def use_device_logins(service, ann):
    """Yield steps of device logins, by ann and by the devices."""
    ann.login()
    box = Device(service.actor("box", address=ann.address, agent=ann.agent))
    yield "login_session.asked", box.start(), None, False
    yield "login_session.claimed", claim(ann, box.code), None, True
    yield "user_code.refused", claim(ann, "BBBB-BBBB"), None, True
    yield "login_session.approved", decide(ann, box, "approve"), None, True
    yield "login_session.redeemed", box.poll(), None, True
    for event, act in (
        ("login_session.denied", lambda one: decide(ann, one, "deny")),
        ("login_session.cancelled", Device.cancel),
        ("login_session.suspicious", lambda one: decide(ann, one, "suspicious")),
    ):
        box.start()
        claim(ann, box.code)
        yield event, act(box), None, True
    service.clock.push(days=1)
    ann.login()
    box.start()
    claim(ann, box.code)
    decide(ann, box, "approve")
    ann.post("/v1/logout-all", token=ann.access)
    yield "login_session.refused", box.poll(), None, True


def change_rights(service, ann):
    """Yield changes of ann's roles and memberships, by an administrator and by herself."""
    ann.login()
    boss = sign_in_with_role(service, "boss", "admin", address=ann.address, agent=ann.agent)
    role, membership = (
        path.format(get_account_id(ann))
        for path in ("/v1/accounts/{}/roles/admin", "/v1/memberships/list/7/{}")
    )
    yield "role.granted", boss.call("PUT", role, token=boss.access), None, True
    yield "role.revoked", boss.call("DELETE", role, token=boss.access), None, True
    yield (
        "membership.granted",
        boss.call("PUT", membership, json={"level": "member"}, token=boss.access),
        None,
        True,
    )
    yield "membership.ended", boss.call("DELETE", membership, token=boss.access), None, True
    yield (
        "session.elevated",
        ann.post("/v1/elevate", {"password": ann.password}, token=ann.access),
        None,
        True,
    )


def administer_account(service, ann):
    """Yield changes of ann's account by an administrator."""
    boss = sign_in_with_role(service, "chief", "admin", address=ann.address, agent=ann.agent)
    hers = f"/v1/accounts/{get_account_id(ann)}"
    carl = {"username": "carl", "email": "carl@example.org", "name": "Carl"}
    yield "account.created", boss.post("/v1/accounts", carl, token=boss.access), None, True
    yield "password.reset_sent", boss.post(f"{hers}/send-reset", token=boss.access), None, True
    yield (
        "sessions.ended",
        boss.post(f"{hers}/end-sessions", token=boss.access),
        "ended_by_admin",
        True,
    )
    for event, method, body in (
        ("account.must_change_password", "PATCH", {"must_change_password": True}),
        ("account.must_change_password", "PATCH", {"must_change_password": False}),
        ("account.disabled", "PATCH", {"status": "disabled"}),
        ("account.enabled", "PATCH", {"status": "active"}),
        ("account.deleted", "DELETE", None),
        ("account.restored", "PATCH", {"status": "active"}),
    ):
        yield event, boss.call(method, hers, json=body, token=boss.access), None, True


def test_each_event_is_a_row_and_a_log_line_with_the_request_id(service, lines):
    ann = service.actor(agent="audited/1", address="198.51.100.9")
    lines()

    seen, routes = set(), []
    for event, answer, reason, owned in chain(
        use_sessions(service, ann),
        use_api_keys(ann),
        use_device_logins(service, ann),
        change_rights(service, ann),
        administer_account(service, ann),
        use_passwords(service, ann),
    ):
        seen.add(event)
        request_id = answer.headers["X-Request-Id"]
        (row,) = [
            row
            for row in list_audit_events(service)
            if row.request_id == request_id and row.event == event
        ]
        assert (row.source, row.user_agent) == ("198.51.100.9", "audited/1")
        assert (row.account_id is not None) is owned, event
        detail = json.loads(row.detail) if isinstance(row.detail, str) else row.detail
        assert detail.get("reason") == reason
        routes += [line for line in lines() if line["request_id"] == request_id]
        (line,) = [
            line for line in routes if line["event"] == event and line["request_id"] == request_id
        ]
        assert line["account_id"] == row.account_id
        assert line["session_id"] == row.session_id
        assert line["source"] == "198.51.100.9"
        assert datetime.fromisoformat(line["at"]).utcoffset().total_seconds() == 0
        (request,) = [
            line
            for line in routes
            if line["event"] == "request" and line["request_id"] == request_id
        ]
        assert request["status"] == answer.status_code
    assert seen == set(Event) - OF_NO_REQUEST


def test_session_revoked_by_the_limit_is_audited(make_service):
    service = make_service(limit_login="1000/minute")
    ann = service.actor().sign_up()
    for _ in range(51):
        ann.login()
    ended = [row for row in list_audit_events(service) if row.event == "session.ended"]
    assert len(ended) == 1
    assert "too_many_sessions" in str(ended[0].detail)


def test_rolled_back_events_are_not_audited(sqlite_service, lines):
    ann = sqlite_service.actor().sign_in()
    before = list_audit_events(sqlite_service)
    lines()
    assert ann.call("PATCH", "/v1/me", json={"name": ""}, token=ann.access).status_code == 422
    assert ann.call("DELETE", "/v1/sessions/ses_" + "0" * 22, token=ann.access).status_code == 404
    assert ann.whoami("x").status_code == 401
    assert list_audit_events(sqlite_service) == before
    assert {line["event"] for line in lines()} == {"request"}


def test_every_refusal_is_logged(make_service, lines):
    service = make_service(limit_login="1/minute")
    ann = service.actor().sign_up()
    lines()
    answers = [
        ann.login(password="wrong"),
        ann.login(),
        ann.whoami("junk"),
        ann.get("/nowhere"),
        ann.get("/v1/methods", headers={"Host": "evil.example"}),
    ]
    entries = {line["request_id"]: line for line in lines() if line["event"] == "request"}
    for answer, status in zip(answers, (401, 429, 401, 404, 400), strict=True):
        line = entries[answer.headers["X-Request-Id"]]
        assert line["status"] == status
        assert line["source"] == ann.address
        assert line["milliseconds"] >= 0


def test_secrets_are_neither_logged_nor_stored(service, capfd):
    first, wrong, chosen = (
        "planted first passphrase",
        "planted wrong passphrase",
        "planted chosen passphrase",
    )
    ann, bob = service.actor(password=first), service.actor("bob", password=chosen)
    secrets = {first, wrong, chosen, SECRET}

    ann.register()
    secrets |= {ann.mail()["code"], ann.mail()["code"].replace("-", ""), ann.get_mailed_token()}
    ann.confirm(code="BBBB-BBBB")
    ann.confirm()
    bob.register(password=None)
    token = bob.get_mailed_token()
    secrets |= {bob.mail()["code"], token, token.rpartition("_")[2]}
    bob.get(f"/confirm/{token}")
    bob.get(f"/confirm/{token}x")
    bob.get(f"/nowhere/{token}?token={token}")
    bob.post("/v1/register/confirm", {"token": token + "x", "password": chosen})
    assert bob.post("/v1/register/confirm", {"token": token, "password": chosen}).status_code == 200

    ann.login(password=wrong)
    ann.login(username=wrong)  # entered in the wrong field
    ann.login(username="x" * 300, password=wrong)
    ann.call(
        "POST",
        "/v1/login",
        data=b'{"username": "ann", "password": "' + wrong.encode(),
        content_type="application/json",
    )
    for _ in range(2):
        assert ann.login().status_code == 200
        secrets |= {
            ann.access,
            ann.access.rpartition(".")[2],
            ann.tokens["refresh_token"],
            ann.tokens["refresh_token"].rpartition(".")[2],
        }
    ann.whoami()
    ann.whoami(ann.access[:-2])
    ann.whoami(ann.tokens["refresh_token"])
    ann.get(
        f"/v1/whoami?access_token={ann.access}",
        headers={"Cookie": f"token={ann.access}", "User-Agent": "Agent", "Referer": token},
    )
    ann.get(f"/v1/sessions/{ann.access}", token=ann.access)
    again = ann.refresh().json
    secrets |= {again["access_token"], again["refresh_token"]}
    service.clock.push(seconds=31)
    ann.refresh()
    ann.login()
    # An error with a traceback in between.
    service.scalar(
        "UPDATE accounts SET metadata = :junk WHERE username = 'ann' RETURNING id", junk="7"
    )
    service.scalar("UPDATE sessions SET rt_salt = 'no hex' RETURNING id")
    ann.refresh()
    ann.get("/v1/me", token=ann.access)

    captured = capfd.readouterr()
    stored = dump_database(service)
    for secret in secrets:
        assert secret not in captured.out, secret
        assert secret not in captured.err, secret
        assert secret not in stored, secret
    assert not re.search(r"eyJ[\w-]+\.", captured.out + stored)
    assert "Bearer" not in captured.out
    assert "$argon2id$" not in captured.out
    assert ann.email not in captured.out
    assert "Traceback" in captured.out


def test_log_entry_is_one_line_for_any_input(sqlite_service, lines):
    hostile = 'a\r\n{"event": "login.succeeded"}\u2028\x1b[2J'
    ann = sqlite_service.actor(agent="x\x85y\x1b[31m")
    ann.login(username=hostile, password=hostile)
    ann.get(
        "/v1/methods?x=%0d%0a{}",
        headers={"X-Forwarded-For": "1.2.3.4%0a", "X-Request-Id": "x" * 30},
    )
    ann.get("/%0d%0aevent")
    entries = lines()
    assert {line["event"] for line in entries} <= {"request", "login.failed", "signing_key.created"}
    assert not [
        value
        for line in entries
        for value in line.values()
        if isinstance(value, str) and not value.isprintable()
    ]
    assert "\n" not in str(list_audit_events(sqlite_service))


def test_log_names_the_route_and_never_the_path(sqlite_service, lines):
    ann = sqlite_service.actor()
    ann.get("/confirm/a-mailed-token")
    ann.get("/v1/sessions/ses_something")
    ann.get("/nowhere/else?token=x")
    routes = [line["route"] for line in lines() if line["event"] == "request"]
    assert routes == ["/confirm/<token>", "/v1/sessions/<session_id>", None]
