"""API keys: creation, use, changes, rotation and revocation, and the limits of their permissions."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import OperationalError

from app.accounts.models import Account
from app.api_keys.expiry_warnings import send_expiry_warnings
from app.api_keys.last_used import flush_last_used
from app.credential_status.revocations import record_account_revocation
from app.errors import Unauthenticated
from app.opaque_tokens import TOKEN_PATTERN, generate_id, generate_token
from app.server.cleanup import delete_expired_data
from app.verification.api_keys import verify_api_key
from tests.actors import PASSWORD, Actor
from tests.api_keys import (
    add_role_to,
    call_whoami,
    create_key,
    get_key_status,
    remove_role_from,
    report_leak,
    request_key,
    rotate_key,
    sign_in_administrator,
    sign_in_worker,
)

ROLES = {"worker": ("jobs:read", "jobs:run"), "clerk": ("orders:read",)}
DAY = 86400
KEY = re.compile(r"dwk_[0-9A-Za-z]{22}_[0-9A-Za-z]{49}")


@pytest.fixture
def service(make_service, database_url):
    return make_service(database_url, roles=ROLES).freeze_clock()


@pytest.fixture
def sqlite_service(make_service):
    return make_service(roles=ROLES).freeze_clock()


@pytest.fixture
def ann(service):
    return sign_in_worker(service)


@pytest.fixture
def bob(sqlite_service):
    return sign_in_worker(sqlite_service, "bob")


# Creation.


def test_a_key_is_shown_once_and_works_in_either_header(service, ann):
    answer = request_key(ann)
    assert answer.status_code == 201
    assert set(answer.json) == {"id", "key", "name", "scopes", "created_at", "expires_at"}
    key = answer.json["key"]
    assert KEY.fullmatch(key)
    assert answer.headers["Cache-Control"] == "no-store"
    expected = {
        "account_id": ann.tokens["account"]["id"],
        "username": "ann",
        "kind": "api_key",
        "scopes": ["jobs:run"],
        "roles": [],
        "key_id": answer.json["id"],
        "expires_at": answer.json["expires_at"],
    }
    assert call_whoami(service, key).json == expected
    assert service.actor("program").get("/v1/whoami", token=key).json == expected
    for response in (
        ann.get("/v1/api-keys", token=ann.access),
        ann.get(f"/v1/api-keys/{answer.json['id']}", token=ann.access),
    ):
        assert response.status_code == 200
        assert key not in response.text
        assert key.split("_")[2] not in response.text


def test_only_digests_are_kept(service, ann):
    key = create_key(ann)["key"]
    rotated = ann.post(
        f"/v1/api-keys/{create_key(ann, 'other')['id']}/rotate", token=ann.access
    ).json["key"]
    call_whoami(service, key)
    with service.open_database() as db:
        stored = "\n".join(
            str(row)
            for table in ("api_keys", "audit", "outbox", "revocations")
            for row in db.execute(text(f"SELECT * FROM {table}"))
        )
    for secret in (key, rotated):
        assert secret not in stored
        assert secret.split("_")[2] not in stored


def test_a_key_is_listed_without_its_secret(service, ann):
    service.clock.push(seconds=1)
    first = create_key(ann, "  first ", [])
    service.clock.push(seconds=1)
    second = create_key(ann, "second", ["jobs:run", "jobs:read", "jobs:run"])
    listed = ann.get("/v1/api-keys", token=ann.access).json
    assert listed["next"] is None
    assert [key["name"] for key in listed["items"]] == ["second", "first"]
    listed_key = listed["items"][0]
    assert listed_key == {
        "id": second["id"],
        "name": "second",
        "prefix": second["key"][:12] + "…",
        "scopes": ["jobs:read", "jobs:run"],
        "status": "live",
        "created_at": second["created_at"],
        "last_used_at": None,
        "expires_at": second["expires_at"],
    }
    assert ann.get(f"/v1/api-keys/{first['id']}", token=ann.access).json == listed["items"][1]


@pytest.mark.parametrize(
    ("requested", "days"), [({}, 90), ({"expires_in": 365 * DAY}, 365), ({"expires_in": DAY}, 1)]
)
def test_key_expires_after_90_days_by_default(sqlite_service, bob, requested, days):
    bob.login()
    key = create_key(bob, **requested)
    sqlite_service.clock.push(days=days, seconds=-2)
    assert call_whoami(sqlite_service, key["key"]).status_code == 200
    sqlite_service.clock.push(seconds=3)
    assert call_whoami(sqlite_service, key["key"]).status_code == 401
    bob.login()
    assert get_key_status(bob, key["id"]) == "expired"
    assert bob.get("/v1/api-keys", token=bob.access).json["items"] == []


REFUSED = [
    ({"scopes": []}, "/name"),
    ({"name": "", "scopes": []}, "/name"),
    ({"name": "a\nb", "scopes": []}, "/name"),
    ({"name": "x" * 65, "scopes": []}, "/name"),
    ({"name": "x"}, "/scopes"),
    ({"name": "x", "scopes": "jobs:run"}, "/scopes"),
    ({"name": "x", "scopes": ["jobs run"]}, "/scopes/0"),
    ({"name": "x", "scopes": [1]}, "/scopes/0"),
    ({"name": "x", "scopes": ["jobs:run"] * 51}, "/scopes"),
    ({"name": "x", "scopes": ["orders:read"]}, "/scopes"),
    ({"name": "x", "scopes": ["jobs:*"]}, "/scopes"),
    ({"name": "x", "scopes": ["tokens:introspect"]}, "/scopes"),
    ({"name": "x", "scopes": [], "expires_in": 365 * DAY + 1}, "/expires_in"),
    ({"name": "x", "scopes": [], "expires_in": 0}, "/expires_in"),
    ({"name": "x", "scopes": [], "expires_in": -5}, "/expires_in"),
    ({"name": "x", "scopes": [], "expires_in": True}, "/expires_in"),
    ({"name": "x", "scopes": [], "expires_in": "60"}, "/expires_in"),
    ({"name": "x", "scopes": [], "expires_in": None}, "/expires_in"),
    ({"name": "x", "scopes": [], "account_id": "acc_0000000000000000000000"}, "/account_id"),
    ({"name": "x", "scopes": [], "key": "dwk_mine"}, "/key"),
]


def test_invalid_fields_are_named(bob):
    for body, field in REFUSED:
        answer = bob.post("/v1/api-keys", body, token=bob.access)
        assert answer.status_code == 422, body
        assert list(answer.json["errors"]) == [field]
    assert bob.get("/v1/api-keys", token=bob.access).json["items"] == []


def test_only_administrators_can_create_keys_that_never_expire(sqlite_service):
    boss = sign_in_administrator(sqlite_service)
    key = create_key(boss, scopes=["roles:read"], expires_in=None)
    assert key["expires_at"] is None
    sqlite_service.clock.push(days=4000)
    answer = call_whoami(sqlite_service, key["key"])
    assert answer.json["expires_at"] is None
    assert answer.json["scopes"] == ["roles:read"]
    assert send_expiry_warnings(sqlite_service.units) == 0
    assert boss.login(scope="roles:read").status_code == 200  # a session that administers nothing
    assert request_key(boss, "endless", scopes=["roles:read"], expires_in=None).status_code == 422


def test_key_cannot_exceed_the_scopes_of_the_session_creating_it(sqlite_service):
    ann = sign_in_worker(sqlite_service)
    ann.login(scope="jobs:read")
    assert request_key(ann, scopes=["jobs:run"]).status_code == 422
    key = create_key(ann, scopes=["jobs:read"])
    assert call_whoami(sqlite_service, key["key"]).json["scopes"] == ["jobs:read"]


def test_name_is_unique_among_live_keys(service, ann):
    first = create_key(ann)
    assert request_key(ann).status_code == 409
    assert request_key(ann).json["code"] == "key_name_taken"
    create_key(ann, "CI")
    assert ann.call("DELETE", f"/v1/api-keys/{first['id']}", token=ann.access).status_code == 204
    second = create_key(ann, expires_in=60)
    service.clock.push(seconds=61)
    create_key(ann)
    create_key(sign_in_worker(service, "bob"), "ci")
    assert get_key_status(ann, second["id"]) == "expired"


def test_more_than_fifty_keys_are_refused(sqlite_service, bob):
    keys = [create_key(bob, f"key {number}", []) for number in range(50)]
    refused = request_key(bob, "one more", [])
    assert (refused.status_code, refused.json["code"]) == (409, "too_many_keys")
    assert len(bob.get("/v1/api-keys", token=bob.access).json["items"]) == 50
    bob.call("DELETE", f"/v1/api-keys/{keys[0]['id']}", token=bob.access)
    create_key(bob, "one more", [])


def test_creating_and_rotating_require_recent_authentication(sqlite_service, bob):
    key = create_key(bob)
    sqlite_service.clock.push(minutes=4)
    bob.refresh()
    tokens = bob.refresh(bob.tokens["refresh_token"]).json
    sqlite_service.clock.push(minutes=2)
    bob.tokens = tokens
    for answer in (
        request_key(bob, "late"),
        bob.post(f"/v1/api-keys/{key['id']}/rotate", token=bob.access),
    ):
        assert (answer.status_code, answer.json["code"]) == (401, "reauthentication_required")
        assert 'error="insufficient_user_authentication"' in answer.headers["WWW-Authenticate"]
    assert bob.get("/v1/api-keys", token=bob.access).status_code == 200
    assert (
        bob.call(
            "PATCH", f"/v1/api-keys/{key['id']}", json={"scopes": []}, token=bob.access
        ).status_code
        == 200
    )
    assert bob.call("DELETE", f"/v1/api-keys/{key['id']}", token=bob.access).status_code == 204


def test_key_cannot_manage_keys_or_sessions(sqlite_service, bob):
    key = create_key(bob)
    paths = [
        ("POST", "/v1/api-keys"), ("GET", "/v1/api-keys"), ("GET", f"/v1/api-keys/{key['id']}"),
        ("PATCH", f"/v1/api-keys/{key['id']}"), ("DELETE", f"/v1/api-keys/{key['id']}"), ("POST", f"/v1/api-keys/{key['id']}/rotate"),
        ("GET", "/v1/sessions"), ("GET", "/v1/me"), ("POST", "/v1/password/change"), ("POST", "/v1/logout-all"),
    ]  # fmt: skip
    for method, path in paths:
        for headers in ({"X-API-Key": key["key"]}, {"Authorization": f"Bearer {key['key']}"}):
            answer = bob.call(method, path, headers=headers, json={})
            assert (answer.status_code, answer.json["code"]) == (403, "forbidden"), path
    assert get_key_status(bob, key["id"]) == "live"


# Use.


def test_exactly_one_credential_is_accepted(sqlite_service, bob):
    key = create_key(bob)["key"]
    other = create_key(bob, "other")["key"]
    refused = [
        [("X-API-Key", key), ("X-API-Key", key)],
        [("X-API-Key", key), ("X-API-Key", other)],
        [("X-API-Key", key), ("Authorization", f"Bearer {bob.access}")],
        [("X-API-Key", key), ("Authorization", f"Bearer {key}")],
        [("X-API-Key", bob.access)],
        [("X-API-Key", f"{key},{key}")],
        [("X-API-Key", f" {key} x")],
        [("X-API-Key", "")],
        [("Authorization", f"Basic {key}")],
        [("Authorization", f"Bearer {key} {key}")],
        [("Authorization", f"Bearer {key},{key}")],
        [("Cookie", f"X-API-Key={key}")],
    ]
    client = sqlite_service.app.test_client(use_cookies=False)
    for headers in refused:
        answer = client.get("/v1/whoami", headers=headers)
        assert answer.status_code == 401, headers
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert client.get(f"/v1/whoami?api_key={key}").status_code == 401


def build_altered_keys(key: str):
    """Return variants of the key with correct checksums."""
    prefix, row, secret = key.split("_")
    same_row = generate_token("dwk", f"key_{row}").token
    yield from (
        key[:-1],
        key + "0",
        key.upper(),
        key.swapcase(),
        f"{prefix}_{row}_{secret[::-1]}",
        f"dwr_{row}_{secret}",
    )
    yield from (
        same_row,
        generate_token("dwd", f"key_{row}").token,
        generate_token("dwk", generate_id("key")).token,
        f"{prefix}_{row}_{same_row.split('_')[2]}",
    )
    yield from (
        "dwk_",
        "dwk__",
        f"{prefix}_{row}",
        f"{prefix}_{row}_",
        key.replace("_", "-"),
        "dwk_" + "a" * 4000,
        f"{key}%00",
        f"{key}=",
    )


def test_altered_key_is_refused(service, ann):
    key = create_key(ann)["key"]
    assert TOKEN_PATTERN.fullmatch(key)
    call_whoami(service, key)
    for wrong in build_altered_keys(key):
        assert call_whoami(service, wrong).status_code == 401, wrong
        assert service.actor("program").get("/v1/whoami", token=wrong).status_code == 401, wrong
    assert call_whoami(service, key).status_code == 200


def test_key_follows_the_current_rights_of_its_owner(service, ann):
    key = create_key(ann, scopes=["jobs:run", "jobs:read"])["key"]
    assert call_whoami(service, key).json["scopes"] == ["jobs:read", "jobs:run"]
    remove_role_from(service, ann, "worker")
    assert call_whoami(service, key).json["scopes"] == []
    add_role_to(service, ann, "clerk")
    assert call_whoami(service, key).json["scopes"] == []
    add_role_to(service, ann, "worker")
    assert call_whoami(service, key).json["scopes"] == ["jobs:read", "jobs:run"]


@pytest.mark.parametrize("became", ["disabled", "deleted"])
def test_keys_of_disabled_or_deleted_accounts_are_refused(service, ann, became):
    key = create_key(ann)["key"]
    assert call_whoami(service, key).status_code == 200
    with service.units.open_read_write() as work:  # administration has requests for it
        account = work.db.get_one(Account, ann.tokens["account"]["id"])
        account.status, account.epoch = became, account.epoch + 1
        record_account_revocation(work, account)
    assert call_whoami(service, key).status_code == 401


def test_keys_survive_logout_and_password_change_and_the_email_lists_them(service, ann):
    key = create_key(ann, "deploy & <b>")["key"]
    ended = create_key(ann, "gone")
    ann.call("DELETE", f"/v1/api-keys/{ended['id']}", token=ann.access)
    ann.post("/v1/logout-all", token=ann.access)
    ann.login()
    assert call_whoami(service, key).status_code == 200
    ann.change("another sentence of some words")
    mail = ann.mail()
    assert "\n- deploy & <b>\n" in mail["text"]
    assert "<li>deploy &amp; &lt;b&gt;</li>" in mail["html"]
    assert "gone" not in mail["text"]
    assert call_whoami(service, key).status_code == 200
    ann.request_password_reset()
    ann.reset("one more sentence of some words")
    assert "\n- deploy & <b>\n" in ann.mail()["text"]
    assert call_whoami(service, key).status_code == 200


def test_rate_limit_is_per_key_and_ignores_wrong_secrets(make_service):
    service = make_service(roles=ROLES, limit_key="3/minute")
    ann = sign_in_worker(service)
    key = create_key(ann)["key"]
    wrong = generate_token("dwk", f"key_{key.split('_')[1]}").token
    assert {call_whoami(service, wrong).status_code for _ in range(10)} == {401}
    assert [call_whoami(service, key).status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = call_whoami(service, key)
    assert refused.json["code"] == "rate_limited"
    assert refused.json["violated-policies"] == ["key"]
    assert refused.headers["RateLimit-Policy"] == '"key";q=3;w=60'
    assert re.fullmatch(r'"key";r=0;t=\d+', refused.headers["RateLimit"])
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert call_whoami(service, create_key(ann, "other")["key"]).status_code == 200


def record_statements(service):
    """Record every SQL statement."""
    sent: list[str] = []
    for engine in (service.units.database.engine, service.units.database.autocommit_engine):
        event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    return sent


def test_random_keys_cost_no_database_read(sqlite_service, bob):
    key = create_key(bob)["key"]
    call_whoami(sqlite_service, key)
    sent = record_statements(sqlite_service)
    random = [key[:-6] + f"{number:06}" for number in range(10_000)]
    assert {call_whoami(sqlite_service, wrong).status_code for wrong in random[:100]} == {401}
    with sqlite_service.units.open_read_only() as work:
        for wrong in random:
            with pytest.raises(Unauthenticated):
                verify_api_key(work, wrong)
    assert not sent


def test_unknown_well_formed_key_costs_one_indexed_lookup(service, ann):
    create_key(ann)
    call_whoami(service, generate_token("dwk", generate_id("key")).token)
    sent = record_statements(service)
    assert call_whoami(service, generate_token("dwk", generate_id("key")).token).status_code == 401
    assert len(sent) == 1
    assert "WHERE api_keys.id = " in sent[0]


# Changes.


def test_key_can_lose_scopes_but_never_gain_any(service, ann):
    key = create_key(ann, scopes=["jobs:run", "jobs:read"])
    path = f"/v1/api-keys/{key['id']}"
    assert ann.call("PATCH", path, json={"scopes": ["jobs:read"]}, token=ann.access).json[
        "scopes"
    ] == ["jobs:read"]
    assert call_whoami(service, key["key"]).json["scopes"] == ["jobs:read"]
    for more in (["jobs:run"], ["jobs:read", "jobs:run"], ["orders:read"], ["jobs:*"]):
        answer = ann.call("PATCH", path, json={"scopes": more}, token=ann.access)
        assert (answer.status_code, list(answer.json["errors"])) == (422, ["/scopes"])
    assert call_whoami(service, key["key"]).json["scopes"] == ["jobs:read"]
    assert ann.call("PATCH", path, json={"scopes": []}, token=ann.access).json["scopes"] == []
    assert call_whoami(service, key["key"]).json["scopes"] == []


def test_wildcard_scope_can_be_narrowed_to_one_resource(sqlite_service):
    boss = sign_in_administrator(sqlite_service)
    key = create_key(boss, scopes=["memberships:write:*"])
    assert call_whoami(sqlite_service, key["key"]).json["scopes"] == ["memberships:write:*"]
    answer = boss.call(
        "PATCH",
        f"/v1/api-keys/{key['id']}",
        json={"scopes": ["memberships:write:list"]},
        token=boss.access,
    )
    assert answer.json["scopes"] == ["memberships:write:list"]
    assert call_whoami(sqlite_service, key["key"]).json["scopes"] == ["memberships:write:list"]
    assert request_key(boss, "other", ["memberships:*"]).status_code == 422


def test_a_key_can_be_renamed(service, ann):
    key = create_key(ann)
    create_key(ann, "other")
    path = f"/v1/api-keys/{key['id']}"
    assert ann.call("PATCH", path, json={"name": "build"}, token=ann.access).json["name"] == "build"
    assert ann.call("PATCH", path, json={"name": "build"}, token=ann.access).status_code == 200
    assert (
        ann.call("PATCH", path, json={"name": "other"}, token=ann.access).json["code"]
        == "key_name_taken"
    )
    assert ann.call("PATCH", path, json={}, token=ann.access).json["name"] == "build"
    assert ann.call("PATCH", path, json={"expires_in": 60}, token=ann.access).status_code == 422
    assert ann.call("PATCH", path, json={"name": None}, token=ann.access).status_code == 422
    assert call_whoami(service, key["key"]).json["scopes"] == ["jobs:run"]


# Rotation.


def test_rotation_keeps_the_key_and_both_secrets_work_for_a_while(service, ann):
    key = create_key(ann)
    answer = rotate_key(ann, key["id"], overlap_seconds=60)
    assert answer.status_code == 200
    assert {
        name: answer.json[name] for name in ("id", "name", "scopes", "created_at", "expires_at")
    } == {name: key[name] for name in ("id", "name", "scopes", "created_at", "expires_at")}
    new = answer.json["key"]
    assert new != key["key"]
    assert call_whoami(service, key["key"]).json == call_whoami(service, new).json
    service.clock.push(seconds=61)
    assert call_whoami(service, key["key"]).status_code == 401
    assert call_whoami(service, new).status_code == 200


def test_rotation_without_overlap_ends_the_old_secret_at_once(service, ann):
    key = create_key(ann)
    call_whoami(service, key["key"])
    new = rotate_key(ann, key["id"], overlap_seconds=0).json["key"]
    assert call_whoami(service, key["key"]).status_code == 401
    assert call_whoami(service, new).status_code == 200


def test_second_rotation_ends_the_first_secret(service, ann):
    key = create_key(ann)
    second = rotate_key(ann, key["id"]).json
    third = rotate_key(ann, key["id"]).json
    assert [call_whoami(service, one["key"]).status_code for one in (key, second, third)] == [
        401,
        200,
        200,
    ]
    service.clock.push(days=1, seconds=1)
    assert [call_whoami(service, one["key"]).status_code for one in (key, second, third)] == [
        401,
        401,
        200,
    ]


def test_an_overlap_is_at_most_seven_days(bob):
    key = create_key(bob)
    for overlap in (-1, 7 * DAY + 1, "60", None, True, 1.5):
        answer = rotate_key(bob, key["id"], overlap_seconds=overlap)
        assert (answer.status_code, list(answer.json["errors"])) == (422, ["/overlap_seconds"])
    assert rotate_key(bob, key["id"], overlap_seconds=7 * DAY).status_code == 200


def test_overlap_does_not_outlive_the_key(sqlite_service, bob):
    key = create_key(bob, expires_in=3600)
    new = rotate_key(bob, key["id"]).json
    sqlite_service.clock.push(seconds=3601)
    assert [call_whoami(sqlite_service, one["key"]).status_code for one in (key, new)] == [401, 401]


# Revocation.


def test_a_deleted_key_is_refused_at_the_next_use(service, ann):
    key = create_key(ann)
    call_whoami(service, key["key"])
    path = f"/v1/api-keys/{key['id']}"
    assert ann.call("DELETE", path, token=ann.access).status_code == 204
    assert call_whoami(service, key["key"]).status_code == 401
    assert get_key_status(ann, key["id"]) == "deleted"
    for answer in (
        ann.call("DELETE", path, token=ann.access),
        ann.call("PATCH", path, json={"name": "again"}, token=ann.access),
        rotate_key(ann, key["id"]),
    ):
        assert answer.status_code == 404
    service.clock.push(days=31)
    delete_expired_data(service.units)
    ann.login()
    assert ann.get(path, token=ann.access).status_code == 404


def test_key_of_another_account_is_not_found(service, ann):
    key = create_key(ann)
    bob = sign_in_worker(service, "bob")
    for key_id in (key["id"], generate_id("key"), "x", "key_", generate_id("ses")):
        answers = [
            bob.get(f"/v1/api-keys/{key_id}", token=bob.access),
            bob.call(
                "PATCH",
                f"/v1/api-keys/{key_id}",
                json={"name": "mine", "scopes": []},
                token=bob.access,
            ),
            rotate_key(bob, key_id),
            bob.call("DELETE", f"/v1/api-keys/{key_id}", token=bob.access),
        ]
        assert [(answer.status_code, answer.json["code"]) for answer in answers] == [
            (404, "not_found")
        ] * 4
    assert bob.get("/v1/api-keys", token=bob.access).json["items"] == []
    assert call_whoami(service, key["key"]).json["scopes"] == ["jobs:run"]


def test_leaked_key_is_revoked_at_once_and_its_owner_is_emailed(service, ann):
    key = create_key(ann, "deploy")
    call_whoami(service, key["key"])
    answer = report_leak(service, key["key"])
    assert (answer.status_code, answer.data) == (204, b"")
    assert call_whoami(service, key["key"]).status_code == 401
    assert get_key_status(ann, key["id"]) == "leaked"
    mail = ann.mail()
    assert mail["template"] == "api_key_leaked"
    assert "“deploy” (" + key["key"][:12] + "…)" in mail["text"]
    assert key["key"] not in mail["text"] + mail["html"]
    email_count = len(service.mailbox(ann.email))
    assert report_leak(service, key["key"]).status_code == 204
    assert len(service.mailbox(ann.email)) == email_count


def test_leak_report_accepts_the_previous_secret_during_the_overlap(service, ann):
    first, second = create_key(ann, "first"), create_key(ann, "second")
    news = [rotate_key(ann, key["id"], overlap_seconds=60).json["key"] for key in (first, second)]
    report_leak(service, first["key"])
    assert [call_whoami(service, key).status_code for key in (first["key"], news[0])] == [401, 401]
    service.clock.push(seconds=61)
    report_leak(service, second["key"])
    assert call_whoami(service, news[1]).status_code == 200


def test_junk_leak_report_reveals_nothing_and_costs_no_read(service, ann):
    key = create_key(ann)["key"]
    bob = sign_in_worker(service, "bob")
    gone = create_key(bob)
    bob.call("DELETE", f"/v1/api-keys/{gone['id']}", token=bob.access)
    email_count = len(service.mailbox())
    right = report_leak(service, create_key(ann, "right")["key"])
    for nothing in (*build_altered_keys(key), gone["key"], "x", "é" * 50, "x" * 4000):
        answer = report_leak(service, nothing)
        assert (answer.status_code, answer.data) == (204, b""), nothing
        headers = {name: value for name, value in answer.headers if name != "X-Request-Id"}
        assert headers == {name: value for name, value in right.headers if name != "X-Request-Id"}
    assert call_whoami(service, key).status_code == 200
    assert len(service.mailbox()) == email_count + 1
    sent = record_statements(service)
    report_leak(service, key[:-6] + "000000")
    assert sent == []


def test_leak_reports_are_rate_limited_by_source(make_service):
    service = make_service(limit_confirm="2/minute")
    finder = service.actor("finder")
    answers = [
        finder.post("/v1/api-keys/report-leak", {"key": "junk"}).status_code for _ in range(3)
    ]
    assert answers == [204, 204, 429]


def test_email_is_in_the_owners_language(sqlite_service, bob):
    bob.call("PATCH", "/v1/me", json={"locale": "de"}, token=bob.access)
    key = create_key(bob, "Bau", expires_in=10 * DAY)
    sqlite_service.clock.push(days=8)
    assert send_expiry_warnings(sqlite_service.units) == 1
    assert (bob.mail()["template"], bob.mail()["language"]) == ("api_key_expiring", "de")
    assert "„Bau“" in bob.mail()["text"]
    report_leak(sqlite_service, key["key"])
    assert (bob.mail()["template"], bob.mail()["language"]) == ("api_key_leaked", "de")


# Background jobs.


def get_last_used(actor: Actor, key_id: str):
    return actor.get(f"/v1/api-keys/{key_id}", token=actor.access).json["last_used_at"]


def test_last_use_is_stored_at_most_once_a_minute(service, ann):
    key = create_key(ann)
    wrong = generate_token("dwk", key["id"]).token
    call_whoami(service, wrong)
    flush_last_used(service.units)
    assert get_last_used(ann, key["id"]) is None
    call_whoami(service, key["key"])
    assert get_last_used(ann, key["id"]) is None
    flush_last_used(service.units)
    first = get_last_used(ann, key["id"])
    assert first is not None
    service.clock.push(seconds=59)
    call_whoami(service, key["key"])
    flush_last_used(service.units)
    assert get_last_used(ann, key["id"]) == first
    service.clock.push(seconds=2)
    call_whoami(service, key["key"])
    flush_last_used(service.units)
    assert get_last_used(ann, key["id"]) > first
    sent = record_statements(service)
    flush_last_used(service.units)
    assert sent == []


def test_uses_that_could_not_be_stored_are_kept(make_service, tmp_path):
    service = make_service(roles=ROLES)
    ann = sign_in_worker(service)
    key = create_key(ann)
    call_whoami(service, key["key"])
    with service.open_database() as db:
        db.execute(text("ALTER TABLE api_keys RENAME TO away"))
    with pytest.raises(OperationalError):
        flush_last_used(service.units)
    with service.open_database() as db:
        db.execute(text("ALTER TABLE away RENAME TO api_keys"))
    flush_last_used(service.units)
    assert get_last_used(ann, key["id"]) is not None


def test_stopping_process_stores_the_uses_it_has_seen(make_live, sqlite_url):
    live = make_live(database_url=sqlite_url)
    body = {"username": "ann", "email": "ann@example.org", "name": "Ann", "password": PASSWORD}
    handle = live.call("POST", "/v1/register", body)[1]["registration"]
    code = live.mailbox("ann@example.org")[0]["code"]
    assert (
        live.call("POST", "/v1/register/confirm", {"registration": handle, "code": code})[0] == 200
    )
    tokens = live.call("POST", "/v1/login", {"username": "ann", "password": PASSWORD})[1]
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    key = live.call("POST", "/v1/api-keys", {"name": "ci", "scopes": []}, headers)[1]["key"]
    assert live.call("GET", "/v1/whoami", headers={"X-API-Key": key})[0] == 200
    live.stop()
    engine = create_engine(sqlite_url)
    with engine.connect() as connection:
        assert (
            connection.execute(text("SELECT last_used_at FROM api_keys")).scalar_one() is not None
        )
    engine.dispose()


def list_expiry_emails(actor: Actor) -> list[str]:
    return [
        mail["text"]
        for mail in actor.service.mailbox(actor.email)
        if mail["template"] == "api_key_expiring"
    ]


def test_owner_is_warned_14_3_and_1_days_before_expiry(service, ann):
    create_key(ann, "deploy", expires_in=30 * DAY)
    email_counts = []
    for _ in range(31):
        service.clock.push(days=1)
        send_expiry_warnings(service.units)
        send_expiry_warnings(service.units)
        email_counts.append(len(list_expiry_emails(ann)))
    assert [email_counts.count(number) for number in range(4)] == [15, 11, 2, 3]
    assert "deploy" in list_expiry_emails(ann)[0]


def test_key_created_for_two_days_triggers_no_three_day_warning(sqlite_service, bob):
    create_key(bob, "two days", expires_in=2 * DAY)
    create_key(bob, "an hour", expires_in=3600)
    assert send_expiry_warnings(sqlite_service.units) == 0
    sqlite_service.clock.push(days=1, seconds=1)
    assert send_expiry_warnings(sqlite_service.units) == 1
    assert "two days" in list_expiry_emails(bob)[0]


def test_one_warning_is_sent_after_a_long_outage(sqlite_service, bob):
    create_key(bob, expires_in=30 * DAY)
    sqlite_service.clock.push(days=29, hours=1)
    assert send_expiry_warnings(sqlite_service.units) == 1
    assert send_expiry_warnings(sqlite_service.units) == 0


def test_no_warning_is_sent_for_dead_keys(service, ann):
    key = create_key(ann, expires_in=20 * DAY)
    ann.call("DELETE", f"/v1/api-keys/{key['id']}", token=ann.access)
    bob = sign_in_worker(service, "bob")
    create_key(bob, expires_in=20 * DAY)
    service.scalar("UPDATE accounts SET status = 'disabled' WHERE username = 'bob' RETURNING id")
    service.clock.push(days=19)
    assert send_expiry_warnings(service.units) == 0


def test_many_processes_send_one_warning(service, ann):
    for number in range(3):
        create_key(ann, f"key {number}", expires_in=20 * DAY)
    service.clock.push(days=10)
    with ThreadPoolExecutor(4) as processes:
        assert sum(processes.map(lambda _: send_expiry_warnings(service.units), range(4))) == 3
    assert len(list_expiry_emails(ann)) == 3
