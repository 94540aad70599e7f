"""Deletion, restore, erasure and export of an account."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from sqlalchemy import inspect, text

from app.adapters import encryption
from app.server.cleanup import delete_expired_data
from tests.actors import PASSWORD
from tests.administrators import create_administrator, get_account_id

OTHER = "wagon speed jailhouse koala reformist"


@pytest.fixture
def boss(service):
    return create_administrator(service)


def send(actor, method, path, body=None):
    return actor.call(method, path, json=body, token=actor.access)


def delete(boss, account_id):
    return send(boss, "DELETE", f"/v1/accounts/{account_id}")


def restore_account(boss, account_id):
    return send(boss, "PATCH", f"/v1/accounts/{account_id}", {"status": "active"})


def create_own_rows(service, boss, ann) -> str:
    """Create a row of every kind that belongs to an account. Returns an API key."""
    account_id = get_account_id(ann)
    assert ann.login(remember_device=True, device_name="laptop").status_code == 200
    assert send(boss, "PUT", f"/v1/accounts/{account_id}/roles/admin").status_code < 300
    member = send(boss, "PUT", f"/v1/memberships/list/7/{account_id}", {"level": "member"})
    assert member.status_code < 300, member.text
    ann.from_another_address().login(password="not the password at all")
    ann.from_another_address().request_password_reset()
    assert send(boss, "POST", f"/v1/accounts/{account_id}/send-reset").status_code == 202
    key = send(ann, "POST", "/v1/api-keys", {"name": "job", "scopes": []})
    assert key.status_code == 201, key.text
    return key.json["key"]


def count_references(service, account_id) -> dict[str, int]:
    """Count the rows of each table that name the account in any column."""
    found = {}
    with service.open_database() as db:
        inspector = inspect(db.connection())
        for table in inspector.get_table_names():
            for column in inspector.get_columns(table):
                if str(column["type"]).startswith("VARCHAR"):
                    sql = f"SELECT count(*) FROM {table} WHERE {column['name']} LIKE :like"
                    if number := db.execute(text(sql), {"like": f"{account_id}%"}).scalar():
                        found[table] = found.get(table, 0) + number
    return found


def list_queued_recipients(service) -> list[str]:
    """Return the recipients of queued emails."""
    with service.open_database() as db:
        rows = db.execute(text("SELECT id, sealed FROM outbox WHERE sealed IS NOT NULL")).all()
    keys = service.settings.secret_key
    return [
        json.loads(encryption.unseal(keys, encryption.KeyPurpose.OUTBOX, sealed, row_id))["to"]
        for row_id, sealed in rows
    ]


def test_deleted_account_loses_all_access(service, boss):
    ann = service.actor("ann").sign_up()
    key = create_own_rows(service, boss, ann)
    link, device, account_id = (
        ann.get_reset_token(),
        ann.tokens["device_token"],
        get_account_id(ann),
    )
    assert delete(boss, account_id).status_code == 204
    assert ann.whoami().status_code == 401
    assert ann.refresh().status_code == 400
    assert ann.get("/v1/whoami", headers={"X-API-Key": key}).status_code == 401
    assert ann.reset(OTHER, token=link).status_code == 400
    assert (
        ann.from_another_address().login(device_token=device).json["code"] == "invalid_credentials"
    )
    assert delete(boss, account_id).status_code == 204
    disabled = send(boss, "PATCH", f"/v1/accounts/{account_id}", {"status": "disabled"})
    assert (disabled.status_code, disabled.json["code"]) == (409, "account_not_active")
    account = send(boss, "GET", f"/v1/accounts/{account_id}").json
    assert account["status"] == "deleted"
    assert account["deleted_at"] is not None
    assert service.scalar("SELECT count(*) FROM audit WHERE event = 'account.deleted'") == 1


def test_name_and_email_of_a_deleted_account_stay_reserved(service, boss):
    ann = service.actor("ann").sign_up()
    delete(boss, get_account_id(ann))
    assert service.actor("ann", email="new@example.org").register().status_code == 409
    other = service.actor("other", email=ann.email)
    service.units.limiter.reset()
    assert other.register().status_code == 202
    assert not other.mail()["code"]
    response = send(
        boss, "POST", "/v1/accounts", {"username": "third", "email": ann.email, "name": "Third"}
    )
    assert response.json["code"] == "email_taken"


def test_restored_account_gets_no_revoked_access_back(service, boss):
    ann = service.actor("ann").sign_up()
    key = create_own_rows(service, boss, ann)
    account_id, old = get_account_id(ann), dict(ann.tokens)
    delete(boss, account_id)
    service.clock.push(days=29)
    delete_expired_data(service.units)
    boss.login()
    answer = restore_account(boss, account_id)
    assert (answer.status_code, answer.json["status"], answer.json["deleted_at"]) == (
        200,
        "active",
        None,
    )
    assert ann.refresh(old["refresh_token"]).status_code == 400
    assert ann.get("/v1/whoami", headers={"X-API-Key": key}).status_code == 401
    assert ann.login().status_code == 200
    assert ann.tokens["account"]["roles"] == ["admin"]
    roles = send(boss, "GET", f"/v1/accounts/{account_id}/roles?resource=list&id=7").json["roles"]
    assert "list-7-member" in roles
    assert service.scalar("SELECT count(*) FROM audit WHERE event = 'account.restored'") == 1


def test_erasure_removes_all_data_and_keeps_an_anonymous_audit_log(service, boss):
    ann = service.actor("ann").sign_up()
    bob = service.actor("bob").sign_in()
    create_own_rows(service, boss, ann)
    account_id = get_account_id(ann)
    delete(boss, account_id)
    before = count_references(service, account_id)
    assert {
        "accounts",
        "account_roles",
        "memberships",
        "sessions",
        "api_keys",
        "confirmations",
        "failed_attempts",
        "audit",
    } <= set(before)
    service.clock.push(days=30, seconds=1)
    assert delete_expired_data(service.units) > 0
    assert set(count_references(service, account_id)) == {"audit"}
    boss.login()
    assert send(boss, "GET", f"/v1/accounts/{account_id}").status_code == 404
    assert restore_account(boss, account_id).status_code == 404
    assert bob.login().status_code == 200
    trail = str(send(boss, "GET", f"/v1/audit?account_id={account_id}&limit=100").json)
    assert "account.erased" in trail
    assert "example.org" not in trail
    assert "'ann'" not in trail


def test_later_account_of_the_same_name_is_separate(make_service, database_url):
    service = make_service(database_url, erase_after=timedelta())
    boss = create_administrator(service)
    ann = service.actor("ann").sign_in()
    old = get_account_id(ann)
    delete(boss, old)
    delete_expired_data(service.units)
    service.units.limiter.reset()
    again = service.actor("ann").sign_in()
    assert get_account_id(again) != old
    assert ann.whoami(ann.access).status_code == 401


def test_queued_email_is_erased_except_the_deletion_notice(make_service, database_url):
    service = make_service(database_url, erase_after=timedelta(), smtp_url="smtp://127.0.0.1:1")
    with service.open_database() as db:  # no email arrives here, so confirm the accounts directly
        for name in ("ann", "bob"):
            db.execute(
                text(
                    "INSERT INTO accounts (id, username, email, email_canonical, name, locale, timezone, metadata, password_hash, status, epoch, "
                    "roles_version, created_at) VALUES (:id, :name, :email, :email, :name, 'en', 'UTC', '{}', :hash, 'active', 1, 0, :now)"
                ),
                {
                    "id": f"acc_{name:0<22}",
                    "name": name,
                    "email": f"{name}@example.org",
                    "hash": service.units.hasher.hash(PASSWORD),
                    "now": "2026-01-01 00:00:00+00:00"
                    if not service.units.database.sqlite
                    else "2026-01-01 00:00:00.000000",
                },
            )
    ann, bob = service.actor("ann"), service.actor("bob")
    for each in (ann, bob):
        assert each.login().status_code == 200
        each.request_password_reset()
    assert list_queued_recipients(service).count("ann@example.org") == 2
    assert send(ann, "DELETE", "/v1/me").status_code == 204
    delete_expired_data(service.units)
    assert list_queued_recipients(service).count("ann@example.org") == 1
    assert list_queued_recipients(service).count("bob@example.org") == 2
    assert (
        service.scalar(
            "SELECT count(*) FROM outbox WHERE template = 'account_deleted' AND sealed IS NOT NULL"
        )
        == 1
    )


def test_many_accounts_are_erased_in_batches(make_service, database_url):
    service = make_service(database_url, erase_after=timedelta())
    boss = create_administrator(service)
    with service.open_database() as db:
        db.execute(
            text(
                "INSERT INTO accounts (id, username, email, email_canonical, name, locale, timezone, metadata, password_hash, status, epoch, "
                "roles_version, created_at, deleted_at) WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 120) "
                "SELECT 'acc_' || n, 'u' || n, 'u' || n, 'u' || n, 'U', 'en', 'UTC', '{}', '', 'deleted', 1, 0, created_at, created_at "
                "FROM counted, accounts WHERE username = 'boss'"
            )
        )
    assert delete_expired_data(service.units) >= 120
    assert service.scalar("SELECT count(*) FROM accounts") == 1
    assert service.scalar("SELECT count(*) FROM audit WHERE event = 'account.erased'") == 120
    assert boss.whoami().status_code == 200


# By the user.


def test_user_can_delete_the_account_and_learns_the_deadline(service, boss):
    ann = service.actor("ann")
    assert ann.register(locale="de").status_code == 202
    ann.confirm()
    ann.login()
    assert send(ann, "DELETE", "/v1/me").status_code == 204
    assert ann.whoami().status_code == 401
    assert ann.login().status_code == 401
    mail = ann.mail()
    erased = f"{service.clock.now() + timedelta(days=30):%Y-%m-%d}"
    assert (mail["template"], mail["language"]) == ("account_deleted", "de")
    assert erased in mail["text"]
    assert restore_account(boss, get_account_id(ann)).status_code == 200
    assert ann.login().status_code == 200


def test_deletion_and_export_require_a_session_and_recent_authentication(sqlite_service):
    ann = sqlite_service.actor("ann").sign_in()
    key = send(ann, "POST", "/v1/api-keys", {"name": "job", "scopes": []}).json["key"]
    sqlite_service.clock.push(minutes=6)
    ann.tokens = ann.refresh().json
    for method, path in (("DELETE", "/v1/me"), ("GET", "/v1/me/export")):
        assert ann.call(method, path).status_code == 401
        refused = send(ann, method, path)
        assert (refused.status_code, refused.json["code"]) == (401, "reauthentication_required")
        assert ann.call(method, path, headers={"X-API-Key": key}).status_code == 403
    ann.tokens = send(ann, "POST", "/v1/elevate", {"password": PASSWORD}).json
    assert send(ann, "GET", "/v1/me/export").status_code == 200
    assert send(ann, "DELETE", "/v1/me").status_code == 204


def test_export_is_complete_and_contains_no_secret(service, boss):
    ann = service.actor("ann").sign_up()
    key = create_own_rows(service, boss, ann)
    answer = send(ann, "GET", "/v1/me/export")
    assert answer.status_code == 200
    export = answer.json
    assert export["account"]["email"] == "ann@example.org"
    assert export["roles"] == ["admin"]
    assert [(each["resource"], each["id"], each["level"]) for each in export["memberships"]] == [
        ("list", "7", "member")
    ]
    assert [each["id"] for each in export["sessions"]] == [ann.tokens["session_id"]]
    assert [each["name"] for each in export["devices"]] == ["laptop"]
    assert [each["name"] for each in export["api_keys"]] == ["job"]
    assert {each["purpose"] for each in export["links"]} == {"reset"}
    assert {each["source"] is None for each in export["failed_attempts"]} == {True, False}
    assert export["audit_complete"] is True
    assert {
        "account.confirmed",
        "login.succeeded",
        "login.failed",
        "role.granted",
        "api_key.created",
    } <= {e["event"] for e in export["audit"]}
    by_boss = [each for each in export["audit"] if get_account_id(boss) in str(each["detail"])]
    assert by_boss
    assert all(
        each["source"] is None for each in by_boss
    )  # an administrator's source is not the user's
    secrets = [
        key,
        ann.access,
        ann.tokens["refresh_token"],
        ann.tokens["device_token"],
        ann.get_reset_token(),
        PASSWORD,
    ]
    with service.open_database() as db:
        for table, column in (
            ("accounts", "password_hash"),
            ("sessions", "rt_salt"),
            ("api_keys", "digest"),
            ("devices", "digest"),
        ):
            secrets += db.execute(text(f"SELECT {column} FROM {table}")).scalars().all()
        secrets += db.execute(text("SELECT digest FROM confirmations")).scalars().all()
    assert not [secret for secret in secrets if secret and secret in answer.text]
    assert not re.search(r"\bboss\b", answer.text)
