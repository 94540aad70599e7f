"""The audit log for administrators: filters, pages and the use of indexes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, text

from app.audit.models import AuditEvent
from app.audit.record import Event
from tests.administrators import create_administrator, get_account_id

FIELDS = {
    "id",
    "at",
    "event",
    "account_id",
    "session_id",
    "source",
    "user_agent",
    "request_id",
    "detail",
}
MANY = 20_000


@pytest.fixture
def boss(service):
    return create_administrator(service)


def list_audit_events(boss, **query):
    answer = boss.call("GET", "/v1/audit", token=boss.access, query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.json


def list_names(page):
    return [item["event"] for item in page["items"]]


def format_time(at):
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_administrator_actions_are_audited_with_their_actor(service, boss):
    ann = service.actor("ann").sign_in()
    mine, hers = get_account_id(boss), get_account_id(ann)
    for method, path, body in (
        ("PATCH", "", {"must_change_password": True}),
        ("PATCH", "", {"must_change_password": False}),
        ("POST", "/send-reset", {}),
        ("POST", "/end-sessions", {}),
        ("PATCH", "", {"status": "disabled"}),
        ("PATCH", "", {"status": "active"}),
        ("DELETE", "", None),
        ("PATCH", "", {"status": "active"}),
    ):
        assert (
            boss.call(
                method, f"/v1/accounts/{hers}{path}", json=body, token=boss.access
            ).status_code
            < 300
        )
    created = boss.post(
        "/v1/accounts",
        {"username": "carl", "email": "carl@example.org", "name": "Carl"},
        token=boss.access,
    ).json
    page = list_audit_events(boss, account_id=hers, limit=8)
    assert list_names(page) == [
        "account.restored",
        "account.deleted",
        "account.enabled",
        "account.disabled",
        "sessions.ended",
        "password.reset_sent",
        "account.must_change_password",
        "account.must_change_password",
    ]
    assert {item["detail"]["actor"] for item in page["items"]} == {mine}
    assert [item["detail"]["required"] for item in page["items"][6:]] == ["no", "yes"]
    assert list_audit_events(boss, account_id=created["id"])["items"][0]["detail"] == {
        "actor": mine
    }
    everything = str(list_audit_events(boss, limit=100))
    assert "ann@" not in everything
    assert not re.search(r"\bcarl\b", everything, re.IGNORECASE)


def test_event_has_time_account_and_ip_address(service, boss):
    ann = service.actor("ann", agent="browser/7").sign_in()
    item = list_audit_events(boss, event="login.succeeded", account_id=get_account_id(ann))[
        "items"
    ][0]
    assert set(item) == FIELDS
    assert item["session_id"] == ann.tokens["session_id"]
    assert (item["source"], item["user_agent"]) == (ann.address, "browser/7")
    assert item["request_id"].startswith("req_")
    assert item["at"].endswith("Z")


def test_all_given_filters_apply(service, boss):
    ann = service.actor("ann").sign_up()
    before = service.clock.now()
    service.clock.push(minutes=2)
    ann.login()
    ann.login(password="wrong horse battery staple")
    assert list_names(list_audit_events(boss, account_id=get_account_id(ann))) == [
        "login.failed",
        "login.succeeded",
        "account.confirmed",
    ]
    assert list_names(
        list_audit_events(boss, account_id=get_account_id(ann), event="login.failed")
    ) == ["login.failed"]
    middle = before + timedelta(minutes=1)
    assert list_names(
        list_audit_events(boss, account_id=get_account_id(ann), since=format_time(middle))
    ) == ["login.failed", "login.succeeded"]
    assert list_names(
        list_audit_events(boss, account_id=get_account_id(ann), until=format_time(middle))
    ) == ["account.confirmed"]
    assert (
        list_names(
            list_audit_events(
                boss,
                account_id=get_account_id(ann),
                since=format_time(middle),
                until=format_time(middle),
            )
        )
        == []
    )
    east = (middle + timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%S+02:00")
    assert list_names(list_audit_events(boss, account_id=get_account_id(ann), until=east)) == [
        "account.confirmed"
    ]
    assert list_names(list_audit_events(boss, account_id="acc_" + "0" * 22)) == []


def test_pages_are_complete_when_many_events_share_a_time(service, boss):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    with service.open_database() as db:
        db.add_all(
            AuditEvent(
                at=at, event="account.changed", account_id="acc_x", detail={"number": number}
            )
            for number in range(7)
        )
    seen, query = [], {}
    for _ in range(9):
        page = list_audit_events(boss, event="account.changed", limit=2, **query)
        seen += [item["detail"]["number"] for item in page["items"]]
        if page["next"] is None:
            break
        query = {"cursor": page["next"]}
    assert seen == [6, 5, 4, 3, 2, 1, 0]


def test_invalid_query_is_rejected(make_service):
    boss = create_administrator(make_service())
    for query in (
        {"event": "nothing.known"},
        {"since": "yesterday"},
        {"since": "2026-01-01"},
        {"since": "2026-01-01T00:00:00"},
        {"until": "0001-01-01T00:00:00+14:00"},
        {"until": "9999-12-31T23:59:59-12:00"},
        {"limit": "101"},
        {"cursor": "x.y"},
        {"account_id": "x" * 33},
        {"order": "asc"},
    ):
        answer = boss.call("GET", "/v1/audit", token=boss.access, query_string=query)
        assert answer.status_code == 422, query


def test_postgresql_uses_an_index_for_every_filter(make_service, empty_postgres_url):
    """Check the plans of the statements that are sent, on a log long enough to choose a plan."""
    service = make_service(empty_postgres_url)
    boss = create_administrator(service)
    with service.open_database() as db:
        db.execute(
            text(
                "INSERT INTO audit (at, event, account_id, detail) SELECT now() - n * interval '1 minute', "
                "CASE WHEN n % 1000 = 0 THEN 'account.erased' ELSE 'login.succeeded' END, 'acc_' || n % 50, '{}' "
                f"FROM generate_series(1, {MANY}) n"
            )
        )
    with service.units.database.engine.connect().execution_options(
        isolation_level="AUTOCOMMIT"
    ) as connection:
        connection.execute(text("ANALYZE audit"))
    cursor = list_audit_events(boss, limit=5)["next"]
    since = format_time(service.clock.now() - timedelta(days=1))
    for query, index in (
        ({}, "ix_audit_at"),
        ({"cursor": cursor}, "ix_audit_at"),
        ({"since": since}, "ix_audit_at"),
        ({"account_id": "acc_7"}, "ix_audit_account_id_at"),
        ({"account_id": "acc_7", "cursor": cursor}, "ix_audit_account_id_at"),
        ({"event": Event.ACCOUNT_ERASED}, "ix_audit_event_at"),
        ({"event": Event.ACCOUNT_ERASED, "until": since}, "ix_audit_event_at"),
    ):
        plan = explain_query(service, boss, query)
        assert index in plan, (query, plan)
        assert "Seq Scan" not in plan, (query, plan)
        rows = max(int(found) for found in re.findall(r"actual time=\S+ rows=(\d+)", plan))
        assert rows <= 500, (query, plan)


def explain_query(service, boss, query) -> str:
    """Return the plan of PostgreSQL for the same statement."""
    sent = []

    def record_statement(_connection, _cursor, statement, parameters, *_):
        if "FROM audit" in statement:
            sent.append((statement, parameters))

    event.listen(service.units.database.engine, "before_cursor_execute", record_statement)
    list_audit_events(boss, limit=50, **query)
    event.remove(service.units.database.engine, "before_cursor_execute", record_statement)
    statement, parameters = sent[0]
    with service.units.database.engine.connect() as connection:
        return "\n".join(
            row[0] for row in connection.exec_driver_sql(f"EXPLAIN ANALYZE {statement}", parameters)
        )
