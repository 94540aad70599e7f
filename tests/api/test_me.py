"""whoami, me, methods, and changes of the own account."""

from __future__ import annotations

import re

import pytest

from app.settings import VERSION, RegistrationMode

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@pytest.fixture
def ann(service):
    return service.actor().sign_in()


def test_whoami_names_the_principal(ann):
    principal = ann.whoami().json
    assert set(principal) == {
        "account_id",
        "username",
        "kind",
        "scopes",
        "roles",
        "session_id",
        "expires_at",
    }
    assert principal["account_id"] == ann.tokens["account"]["id"]
    assert (principal["username"], principal["kind"]) == ("ann", "session")
    assert (principal["scopes"], principal["roles"]) == ([], [])
    assert principal["session_id"] == ann.tokens["session_id"]
    assert TIME.fullmatch(principal["expires_at"])


def test_me_shows_the_account_and_the_current_session(ann):
    me = ann.get("/v1/me", token=ann.access).json
    assert set(me) == {"account", "session", "roles", "scopes", "resources"}
    assert set(me["account"]) == {
        "id",
        "username",
        "email",
        "name",
        "locale",
        "timezone",
        "metadata",
        "created_at",
        "last_login_at",
    }
    assert me["account"]["email"] == ann.email
    assert (me["account"]["name"], me["account"]["timezone"], me["account"]["metadata"]) == (
        "Ann",
        "UTC",
        {},
    )
    assert TIME.fullmatch(me["account"]["created_at"])
    assert TIME.fullmatch(me["account"]["last_login_at"])
    assert me["session"]["id"] == ann.tokens["session_id"]
    assert me["session"]["current"] is True
    assert "password" not in str(me)


def test_given_fields_change_and_the_rest_stays(ann):
    changes = {
        "name": "Ann B. Ångström 李",
        "locale": "de-AT",
        "timezone": "Europe/Vienna",
        "metadata": {"a": [1, 2.5, None, {"b": "ü"}]},
    }
    answer = ann.call("PATCH", "/v1/me", json=changes, token=ann.access)
    assert answer.status_code == 200
    assert {name: answer.json[name] for name in changes} == changes
    after = ann.call("PATCH", "/v1/me", json={"metadata": {}}, token=ann.access).json
    assert after == {**answer.json, "metadata": {}}
    assert ann.get("/v1/me", token=ann.access).json["account"] == after
    assert ann.call("PATCH", "/v1/me", token=ann.access).json == after


def test_a_name_is_trimmed(ann):
    assert (
        ann.call("PATCH", "/v1/me", json={"name": "  Ann  "}, token=ann.access).json["name"]
        == "Ann"
    )


def test_change_affects_only_the_own_account(service, ann):
    bob = service.actor("bob").sign_in()
    before = bob.get("/v1/me", token=bob.access).json["account"]
    ann.call("PATCH", "/v1/me", json={"name": "Somebody"}, token=ann.access)
    assert bob.get("/v1/me", token=bob.access).json["account"] == before


UNACCEPTABLE = [
    ({"name": ""}, "/name"),
    ({"name": "   "}, "/name"),
    ({"name": None}, "/name"),
    ({"name": 1}, "/name"),
    ({"name": ["x"]}, "/name"),
    ({"name": "x" * 129}, "/name"),
    ({"name": "a\nb"}, "/name"),
    ({"name": "a\r\nBcc: x"}, "/name"),
    ({"name": "a\u0000b"}, "/name"),
    ({"name": "a\u202eb"}, "/name"),
    ({"name": "a\u2028b"}, "/name"),
    ({"name": "a\ud800b"}, "/name"),
    ({"locale": "english"}, "/locale"),
    ({"locale": "en\n"}, "/locale"),
    ({"locale": "../../etc"}, "/locale"),
    ({"locale": ""}, "/locale"),
    ({"locale": None}, "/locale"),
    ({"timezone": "Mars/Olympus"}, "/timezone"),
    ({"timezone": "../../etc/passwd"}, "/timezone"),
    ({"timezone": "/etc/localtime"}, "/timezone"),
    ({"timezone": ""}, "/timezone"),
    ({"timezone": "x" * 5000}, "/timezone"),
    ({"metadata": None}, "/metadata"),
    ({"metadata": []}, "/metadata"),
    ({"metadata": "{}"}, "/metadata"),
    ({"metadata": {"a": "x" * 4096}}, "/metadata"),
    ({"metadata": {"a": "\u0000"}}, "/metadata/a"),
    ({"metadata": {"\u0000": 1}}, "/metadata"),
    ({"metadata": {"a": {"b": ["\udfff"]}}}, "/metadata/a/b/0"),
    ({"username": "root"}, "/username"),
    ({"email": "x@example.org"}, "/email"),
    ({"id": "acc_" + "0" * 22}, "/id"),
    ({"status": "active"}, "/status"),
    ({"password": "x" * 20}, "/password"),
    ({"roles": ["admin"]}, "/roles"),
    ({"epoch": 7}, "/epoch"),
    ({"extra": {}}, "/extra"),
    ({"password_hash": "x"}, "/password_hash"),
    ({"": 1}, "/"),
]


def test_unchangeable_fields_are_named_and_nothing_is_stored(sqlite_service):
    ann = sqlite_service.actor().sign_in()
    before = ann.get("/v1/me", token=ann.access).json["account"]
    for changes, field in UNACCEPTABLE:
        answer = ann.call("PATCH", "/v1/me", json={"name": "Other", **changes}, token=ann.access)
        assert answer.status_code == 422, changes
        assert list(answer.json["errors"]) == [field]
        assert all(answer.json["errors"][field])
    assert ann.get("/v1/me", token=ann.access).json["account"] == before


def test_methods_tell_a_login_page_what_it_needs(make_service):
    service = make_service(
        registration=RegistrationMode.CLOSED,
        password_min_length=20,
        public_url="https://login.example.org",
        trusted_hosts=("localhost",),
    )
    assert service.actor().get("/v1/methods").json == {
        "items": [
            {
                "id": "password",
                "type": "password",
                "name": "Password",
                "login_url": "https://login.example.org/v1/login",
            },
            {
                "id": "device",
                "type": "device_code",
                "name": "Another device",
                "login_url": "https://login.example.org/login/activate",
            },
        ],
        "policies": {
            "registration": "closed",
            "password_min_length": 20,
            "password_max_length": 128,
        },
    }


def test_probes_and_version_return_their_documents(service):
    anonymous = service.actor()
    assert anonymous.get("/livez").json == {"status": "alive"}
    assert anonymous.get("/readyz").json == {
        "status": "ready",
        "checks": dict.fromkeys(("database", "schema", "clock", "keys"), "ok"),
    }
    assert anonymous.get("/version").json == {"name": "doorward", "version": VERSION}


def test_outdated_schema_is_not_ready(sqlite_service):
    sqlite_service.scalar("UPDATE alembic_version SET version_num = 'older' RETURNING version_num")
    answer = sqlite_service.actor().get("/readyz")
    assert answer.status_code == 503
    assert answer.json["code"] == "not_ready"
    assert answer.json["checks"]["schema"] == "outdated"
    assert "Retry-After" in answer.headers
