"""Introspection and revocation: permissions, responses, and what they do not reveal (RFC 7662, RFC 7009)."""

from __future__ import annotations

import base64
import json

import pytest
import redis

from app.accounts.models import Account
from app.authorization.models import AccountRole
from app.credential_status.revocations import record_account_revocation
from app.opaque_tokens import generate_id, generate_token
from app.server.cache_watcher import CacheWatcher
from tests.oauth_clients import (
    ROLES,
    assert_oauth_error,
    build_basic_auth,
    create_key,
    create_key_owner,
    post_form,
    request_client_token,
)
from tests.request_cost import count_work

NOT_ACTIVE = b'{"active":false}\n'


@pytest.fixture
def service(make_service, database_url):
    return make_service(database_url, roles=ROLES)


@pytest.fixture
def sqlite_service(make_service):
    return make_service(roles=ROLES)


@pytest.fixture
def ann(service):
    return create_key_owner(service)


@pytest.fixture
def sqlite_ann(sqlite_service):
    return create_key_owner(sqlite_service)


def create_api_client(actor):
    """Create an API client with the scope tokens:introspect."""
    return create_key(actor, "tokens:introspect", name="api")


def introspect(actor, api, token: str, **fields):
    answer = post_form(
        actor,
        "/oauth/introspect",
        {"token": token, **fields},
        headers=build_basic_auth(api["id"], api["key"]),
    )
    assert answer.status_code == 200, answer.text
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    return answer


def revoke(actor, token: str, headers=None, **fields):
    answer = post_form(actor, "/oauth/revoke", {"token": token, **fields}, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.get_data() == b""


def test_access_token_is_described_in_full(service, ann):
    api, me = create_api_client(ann), ann.whoami().json
    found = introspect(ann, api, ann.access).json
    now = int(service.clock.now().timestamp())
    assert found.pop("active") is True
    assert found.pop("exp") - found["iat"] == 300
    assert now - 30 <= found.pop("iat") <= now
    assert now - 30 <= found.pop("auth_time") <= now
    assert found.pop("jti").startswith("jti_")
    assert found == {
        "token_type": "Bearer",
        "sub": me["account_id"],
        "username": "ann",
        "client_id": "doorward",
        "scope": " ".join(me["scopes"]),
        "iss": service.settings.issuer,
        "aud": service.settings.audience,
        "sid": ann.tokens["session_id"],
    }


def test_refresh_tokens_keys_and_key_tokens_are_described_by_type(service, ann):
    api, key = create_api_client(ann), create_key(ann, "orders:read")
    refresh = introspect(ann, api, ann.tokens["refresh_token"], token_type_hint="access_token").json
    assert (refresh["token_type"], refresh["sid"]) == ("refresh_token", ann.tokens["session_id"])
    assert refresh["exp"] > service.clock.now().timestamp() + 86400
    assert refresh["scope"] == ann.tokens["scope"] != ""
    key_claims = introspect(ann, api, key["key"]).json
    assert (key_claims["token_type"], key_claims["client_id"], key_claims["scope"]) == (
        "api_key",
        key["id"],
        "orders:read",
    )
    token_claims = introspect(ann, api, request_client_token(ann, key).json["access_token"]).json
    assert (
        token_claims["token_type"],
        token_claims["client_id"],
        token_claims["sid"],
        token_claims["scope"],
    ) == ("Bearer", key["id"], key["id"], "orders:read")
    assert "auth_time" not in token_claims


def test_every_inactive_token_gets_the_same_bytes(service, ann):
    api, ended = create_api_client(ann), ann.from_another_address()
    ended.login()
    expired = ann.access
    service.clock.push(seconds=331)
    ann.refresh()
    ann.login()
    ended.login()
    header, words, signature = ann.access.split(".")
    body = json.loads(base64.urlsafe_b64decode(words + "=="))
    forged = (
        base64.urlsafe_b64encode(json.dumps({**body, "aud": "https://other.example"}).encode())
        .rstrip(b"=")
        .decode()
    )
    logged_out, used_up = ended.access, ended.tokens["refresh_token"]
    ended.logout()
    deleted = create_key(ann, name="deleted")
    token = request_client_token(ann, deleted).json["access_token"]
    assert ann.call("DELETE", f"/v1/api-keys/{deleted['id']}", token=ann.access).status_code == 204
    dead = {
        "expired": expired,
        "logged out": logged_out,
        "its refresh token": used_up,
        "forged": f"{header}.{forged}.{signature}",
        "without signature": f"{header}.{words}.",
        "a deleted key": deleted["key"],
        "its token": token,
        "a key that never was": generate_token("dwk", generate_id("key")).token,
        "junk": "x",
        "long junk": "x" * 9000,
        "an id": ann.tokens["session_id"],
        "control": "a b",
        "unicode": "ä🙂",
    }
    assert {
        name: introspect(ann, api, each).get_data() for name, each in dead.items()
    } == dict.fromkeys(dead, NOT_ACTIVE)


def test_tokens_of_another_issuer_or_audience_are_inactive(make_service, sqlite_url):
    """Two services share a database and signing keys but have different issuers."""
    service = make_service(sqlite_url, roles=ROLES)
    ann = create_key_owner(service)
    api = create_api_client(ann)
    for settings in ({"issuer": "https://other.example"}, {"audience": "https://other.example"}):
        other_service = make_service(sqlite_url, roles=ROLES, **settings)
        bob = other_service.actor("ann", address="10.1.0.9")
        assert bob.login().status_code == 200
        assert introspect(ann, api, bob.access).get_data() == NOT_ACTIVE
        assert introspect(bob, api, bob.access).json["active"] is True


def test_withdrawn_rights_are_not_reported(ann):
    api, key = create_api_client(ann), create_key(ann, "orders:read", "orders:write")
    token = request_client_token(ann, key).json["access_token"]
    assert introspect(ann, api, token).json["scope"] == "orders:read orders:write"
    ann.call(
        "PATCH", f"/v1/api-keys/{key['id']}", json={"scopes": ["orders:write"]}, token=ann.access
    )
    assert introspect(ann, api, token).json["scope"] == "orders:write"


# Permissions.


def test_caller_can_present_its_key_in_every_supported_way(sqlite_ann):
    api, body = create_api_client(sqlite_ann), {"token": sqlite_ann.access}
    key = api["key"]
    for headers, fields in [
        ({"X-API-Key": key}, body),
        ({"Authorization": f"Bearer {key}"}, body),
        (build_basic_auth(api["id"], key), body),
        ({}, {**body, "client_id": api["id"], "client_secret": key}),
        ({"X-API-Key": key}, {**body, "client_id": api["id"]}),
    ]:
        assert (
            post_form(sqlite_ann, "/oauth/introspect", fields, headers=headers).json["active"]
            is True
        )
    for headers, fields in [
        ({"X-API-Key": key, **build_basic_auth(api["id"], key)}, body),
        ({"X-API-Key": key}, {**body, "client_secret": key}),
        ({"Authorization": f"Bearer {key}", "X-API-Key": key}, body),
    ]:
        assert_oauth_error(
            post_form(sqlite_ann, "/oauth/introspect", fields, headers=headers),
            400,
            "invalid_request",
        )


def test_other_callers_learn_nothing(sqlite_service, sqlite_ann):
    api, weak = create_api_client(sqlite_ann), create_key(sqlite_ann, "orders:read", name="weak")
    for token in (sqlite_ann.access, "x"):
        for headers in (
            {},
            {"X-API-Key": "x"},
            {"Authorization": f"Bearer {sqlite_ann.access}"},
            {
                "Authorization": f"Bearer {request_client_token(sqlite_ann, api).json['access_token']}"
            },
            build_basic_auth(weak["id"], api["key"]),
            build_basic_auth("doorward", ""),
        ):
            assert_oauth_error(
                post_form(
                    sqlite_service.actor("other"),
                    "/oauth/introspect",
                    {"token": token},
                    headers=headers,
                ),
                401,
                "invalid_client",
            )
        assert_oauth_error(
            post_form(
                sqlite_ann,
                "/oauth/introspect",
                {"token": token},
                headers={"X-API-Key": weak["key"]},
            ),
            403,
            "insufficient_scope",
        )


def test_caller_whose_owner_lost_the_right_learns_nothing(service, ann):
    api = create_api_client(ann)
    assert introspect(ann, api, ann.access).json["active"] is True
    with service.units.open_read_write() as work:
        account = work.db.get_one(Account, ann.tokens["account"]["id"])
        work.db.delete(work.db.get_one(AccountRole, (account.id, "robot")))
        account.roles_version += 1
        record_account_revocation(work, account)
    answer = post_form(
        ann, "/oauth/introspect", {"token": ann.access}, headers={"X-API-Key": api["key"]}
    )
    assert_oauth_error(answer, 403, "insufficient_scope")


def test_only_a_post_with_a_token_is_accepted(sqlite_ann):
    api = create_api_client(sqlite_ann)
    header = build_basic_auth(api["id"], api["key"])
    assert_oauth_error(
        post_form(sqlite_ann, "/oauth/introspect", {}, headers=header), 400, "invalid_request"
    )
    assert_oauth_error(
        post_form(sqlite_ann, "/oauth/introspect", {"token": ""}, headers=header),
        400,
        "invalid_request",
    )
    assert_oauth_error(
        post_form(sqlite_ann, "/oauth/introspect", "token=a&token=b", headers=header),
        400,
        "invalid_request",
    )
    assert_oauth_error(
        post_form(
            sqlite_ann, "/oauth/introspect", {"token": "a"}, headers=header, query="?token=b"
        ),
        400,
        "invalid_request",
    )
    assert_oauth_error(
        sqlite_ann.get(f"/oauth/introspect?token={sqlite_ann.access}", headers=header),
        405,
        "invalid_request",
    )


def test_warm_introspection_adds_one_round_trip_to_the_two_of_the_caller(
    make_service, database_url, redis_url
):
    service = make_service(database_url, roles=ROLES, redis_url=redis_url).freeze_clock()
    server = redis.Redis.from_url(redis_url)
    CacheWatcher().watch(service.units)
    ann = create_key_owner(service)
    api = create_api_client(ann)
    introspect(ann, api, ann.access)
    with count_work(service, server) as counts:
        for _ in range(3):
            assert introspect(ann, api, ann.access).json["active"] is True
    assert counts["sql"] == 0
    # Each includes the reads for the caller: the key's entry with its rate limit, and its account.
    assert counts["commands"] == {
        "cmdstat_evalsha": 3,
        "cmdstat_get": 3,
        "cmdstat_incr": 3,
        "cmdstat_mget": 6,
    }
    server.close()


# Revocation.


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
@pytest.mark.parametrize(
    "hint", [{}, {"token_type_hint": "refresh_token"}, {"token_type_hint": "no_such_hint"}]
)
def test_either_token_revokes_the_session_with_any_hint(sqlite_service, sqlite_ann, which, hint):
    revoke(sqlite_service.actor("holder"), sqlite_ann.tokens[which], client_id="doorward", **hint)
    assert sqlite_ann.whoami().status_code == 401
    assert sqlite_ann.refresh().status_code == 400


def test_revocation_ends_one_session_and_no_other(service, ann):
    other = ann.from_another_address()
    other.login()
    revoke(ann, ann.access)
    assert ann.whoami().status_code == 401
    assert other.whoami().status_code == 200


def test_revoking_a_key_ends_its_tokens(service, ann):
    key = create_key(ann, "orders:read")
    token = request_client_token(ann, key).json["access_token"]
    revoke(ann, key["key"], headers=build_basic_auth(key["id"], key["key"]))
    assert ann.whoami(token).status_code == 401
    assert_oauth_error(request_client_token(ann, key), 401, "invalid_client")


def test_token_issued_for_a_key_cannot_revoke_the_key(sqlite_ann):
    key = create_key(sqlite_ann, "orders:read")
    token = request_client_token(sqlite_ann, key).json["access_token"]
    assert_oauth_error(
        post_form(sqlite_ann, "/oauth/revoke", {"token": token}), 400, "unsupported_token_type"
    )
    assert sqlite_ann.whoami(token).status_code == 200
    assert request_client_token(sqlite_ann, key).status_code == 200


def test_revoking_an_unknown_token_is_200_and_changes_nothing(sqlite_service, sqlite_ann):
    key = create_key(sqlite_ann, "orders:read")
    altered = key["key"][:-1] + ("a" if key["key"][-1] != "a" else "b")
    header, words, _ = sqlite_ann.access.split(".")
    for token in (
        "x",
        "ä",
        altered,
        generate_token("dwk", key["id"]).token,
        f"{header}.{words}.AAAA",
        sqlite_ann.tokens["session_id"],
        key["id"],
    ):
        revoke(sqlite_ann, token)
    assert sqlite_ann.whoami().status_code == 200
    assert request_client_token(sqlite_ann, key).status_code == 200


def test_presented_credentials_must_be_valid(sqlite_ann):
    key = create_key(sqlite_ann, "orders:read")
    for headers in (
        build_basic_auth(key["id"], "x"),
        build_basic_auth("somebody", ""),
        {"Authorization": "Bearer x"},
    ):
        assert_oauth_error(
            post_form(sqlite_ann, "/oauth/revoke", {"token": sqlite_ann.access}, headers=headers),
            401,
            "invalid_client",
        )
    assert_oauth_error(
        post_form(sqlite_ann, "/oauth/revoke", {"token": sqlite_ann.access, "client_id": "other"}),
        401,
        "invalid_client",
    )
    assert_oauth_error(
        post_form(sqlite_ann, "/oauth/revoke", {"token_type_hint": "access_token"}),
        400,
        "invalid_request",
    )
    assert sqlite_ann.whoami().status_code == 200
