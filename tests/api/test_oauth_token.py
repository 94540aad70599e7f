"""The token endpoint (RFC 6749): client credentials and refresh tokens."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from app.principal import CredentialKind
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

FORM = "application/x-www-form-urlencoded"


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


def read_claims(token: str) -> dict:
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


# Client credentials.


def test_key_is_exchanged_for_an_access_token(service, ann):
    key = create_key(ann, "orders:read", "orders:write")
    robot = service.actor("robot")
    answer = request_client_token(robot, key)
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert set(answer.json) == {"access_token", "token_type", "expires_in", "scope"}
    assert (answer.json["token_type"], answer.json["expires_in"]) == ("Bearer", 300)
    assert answer.json["scope"] == "orders:read orders:write"
    claims = read_claims(answer.json["access_token"])
    assert claims["sid"] == claims["client_id"] == key["id"]
    assert claims["sub"] == ann.tokens["account"]["id"]
    assert claims["roles"] == []
    me = robot.whoami(answer.json["access_token"]).json
    assert (me["kind"], me["key_id"], me["scopes"]) == (
        CredentialKind.API_KEY,
        key["id"],
        ["orders:read", "orders:write"],
    )


def test_client_credentials_may_be_in_the_form(ann, service):
    key = create_key(ann, "orders:read")
    fields = {
        "grant_type": "client_credentials",
        "client_id": key["id"],
        "client_secret": key["key"],
    }
    assert post_form(service.actor("robot"), "/oauth/token", fields).status_code == 200


@pytest.mark.parametrize(
    ("requested", "granted"),
    [
        ("orders:read", "orders:read"),
        ("orders:write orders:read", "orders:read orders:write"),
        ("orders:read admin:all", "orders:read"),
        ("orders:read orders:read", "orders:read"),
        ("", "orders:read orders:write"),
    ],
)
def test_token_scope_is_the_request_limited_by_the_key(sqlite_ann, requested, granted):
    key = create_key(sqlite_ann, "orders:read", "orders:write")
    assert request_client_token(sqlite_ann, key, scope=requested).json["scope"] == granted


@pytest.mark.parametrize(
    "requested", ["admin:all", "orders:read  orders:write", " orders:read", "orders:*", "a\\b", "ä"]
)
def test_scopes_that_cannot_be_granted_are_refused(sqlite_ann, requested):
    assert_oauth_error(
        request_client_token(sqlite_ann, create_key(sqlite_ann, "orders:read"), scope=requested),
        400,
        "invalid_scope",
    )


def test_a_key_without_scopes_gets_a_token_without_scopes(sqlite_ann):
    answer = request_client_token(sqlite_ann, create_key(sqlite_ann))
    assert answer.status_code == 200
    assert answer.json["scope"] == ""


def test_scopes_removed_from_a_key_leave_its_tokens(service, ann):
    key = create_key(ann, "orders:read", "orders:write", "revocations:read")
    robot = service.actor("robot")
    token = request_client_token(robot, key).json["access_token"]
    assert robot.get("/v1/revocations", token=token).status_code == 200
    narrowed = ann.call(
        "PATCH", f"/v1/api-keys/{key['id']}", json={"scopes": ["orders:read"]}, token=ann.access
    )
    assert narrowed.status_code == 200, narrowed.text
    assert robot.whoami(token).json["scopes"] == ["orders:read"]
    assert robot.get("/v1/revocations", token=token).status_code == 403
    assert request_client_token(robot, key).json["scope"] == "orders:read"


def test_token_expires_with_its_key_at_the_latest(service, ann):
    key = create_key(ann, "orders:read")
    service.clock.push(days=90, seconds=-100)
    answer = request_client_token(service.actor("robot"), key)
    assert 90 <= answer.json["expires_in"] <= 100


@pytest.mark.parametrize("how", ["deleted", "expired", "owner_disabled", "leaked"])
def test_dead_key_gets_no_token_and_its_tokens_are_refused(service, ann, how):
    key = create_key(ann, "orders:read", expires_in=86400)
    robot = service.actor("robot")
    service.clock.push(seconds=86400 - 60)
    token = request_client_token(robot, key).json["access_token"]
    assert robot.whoami(token).status_code == 200
    if how == "deleted":
        assert ann.login().status_code == 200
        assert ann.call("DELETE", f"/v1/api-keys/{key['id']}", token=ann.access).status_code == 204
    elif how == "expired":
        service.clock.push(seconds=61)
    elif how == "leaked":
        assert robot.post("/v1/api-keys/report-leak", {"key": key["key"]}).status_code in {202, 204}
    else:
        service.scalar(
            "UPDATE accounts SET status = 'disabled' WHERE username = 'ann' RETURNING id"
        )
    assert_oauth_error(request_client_token(robot, key), 401, "invalid_client")
    assert robot.whoami(token).status_code == 401


def test_token_ends_with_the_secret_it_was_issued_for(service, ann):
    key = create_key(ann, "orders:read")
    robot = service.actor("robot")
    first = request_client_token(robot, key).json["access_token"]
    path = f"/v1/api-keys/{key['id']}/rotate"
    second = {**key, **ann.post(path, {"overlap_seconds": 60}, token=ann.access).json}
    assert robot.whoami(first).status_code == 200
    service.clock.push(seconds=61)
    assert robot.whoami(first).status_code == 401
    token = request_client_token(robot, second).json["access_token"]
    third = {**key, **ann.post(path, {"overlap_seconds": 0}, token=ann.access).json}
    assert robot.whoami(token).status_code == 401
    assert robot.whoami(request_client_token(robot, third).json["access_token"]).status_code == 200


def test_tokens_of_a_deleted_key_are_refused_after_a_redis_flush(
    make_service, database_url, redis_url
):
    service = make_service(database_url, roles=ROLES, redis_url=redis_url)
    server = redis.Redis.from_url(redis_url)
    watcher = CacheWatcher()
    watcher.watch(service.units)
    ann, robot = create_key_owner(service), service.actor("robot")
    key = create_key(ann, "orders:read")
    token = request_client_token(robot, key).json["access_token"]
    assert robot.whoami(token).status_code == 200
    assert ann.call("DELETE", f"/v1/api-keys/{key['id']}", token=ann.access).status_code == 204
    assert robot.whoami(token).status_code == 401
    server.flushall()
    assert robot.whoami(token).status_code == 401
    server.flushall()
    watcher.watch(service.units)
    assert robot.whoami(token).status_code == 401
    assert request_client_token(robot, key).status_code == 401
    server.close()


# Client authentication.


def test_id_and_secret_must_agree_and_every_failure_is_the_same(sqlite_service, sqlite_ann):
    key, other = (
        create_key(sqlite_ann, "orders:read"),
        create_key(sqlite_ann, "orders:read", name="other"),
    )
    altered = key["key"][:-1] + ("a" if key["key"][-1] != "a" else "b")
    wrong = [
        (key["id"], other["key"]),
        (key["id"], altered),
        (key["id"], "secret"),
        (key["id"], ""),
        ("", key["key"]),
        ("doorward", key["key"]),
        ("doorward", ""),
        ("ann", sqlite_ann.password),
        (key["key"], key["key"]),
        (key["id"] + "\0", key["key"]),
        (key["id"], key["key"] + " "),
        ("käy", "schlüssel"),
    ]
    bodies = set()
    for name, secret in wrong:
        answer = post_form(
            sqlite_service.actor("robot"),
            "/oauth/token",
            {"grant_type": "client_credentials"},
            headers=build_basic_auth(name, secret),
        )
        assert_oauth_error(answer, 401, "invalid_client")
        bodies.add(answer.get_data())
    assert len(bodies) == 1


def test_basic_credentials_are_percent_decoded(sqlite_ann):
    """RFC 6749 section 2.3.1: unreserved characters may be percent-encoded too."""
    key = create_key(sqlite_ann, "orders:read")
    every = {name: "".join(f"%{byte:02X}" for byte in key[name].encode()) for name in ("id", "key")}
    grant = {"grant_type": "client_credentials"}
    assert (
        post_form(
            sqlite_ann, "/oauth/token", grant, headers=build_basic_auth(every["id"], every["key"])
        ).status_code
        == 200
    )
    assert (
        post_form(
            sqlite_ann,
            "/oauth/token",
            grant,
            headers=build_basic_auth(quote(key["id"]), every["key"]),
        ).status_code
        == 200
    )
    for secret in (key["key"] + ":", ":" + key["key"], "%ff", "%" + key["key"], "+" + key["key"]):
        assert_oauth_error(
            post_form(
                sqlite_ann, "/oauth/token", grant, headers=build_basic_auth(key["id"], secret)
            ),
            401,
            "invalid_client",
        )


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !",
        "Basic Zm9v",
        "Basic Zm9v/",
        "Basic //8=",
        "Bearer x",
        "Digest a=b",
        "basic  Zm9vOmJhcg== x",
        "Basic Zm9vOmJhcg==, Basic Zm9vOmJhcg==",
    ],
)
def test_malformed_basic_header_is_refused(sqlite_ann, header):
    assert_oauth_error(
        post_form(
            sqlite_ann,
            "/oauth/token",
            {"grant_type": "client_credentials"},
            headers={"Authorization": header},
        ),
        401,
        "invalid_client",
    )


def test_client_must_use_one_authentication_method(sqlite_ann):
    key = create_key(sqlite_ann, "orders:read")
    header, grant = build_basic_auth(key["id"], key["key"]), {"grant_type": "client_credentials"}
    twice = {**grant, "client_id": key["id"], "client_secret": key["key"]}
    assert_oauth_error(
        post_form(sqlite_ann, "/oauth/token", twice, headers=header), 400, "invalid_request"
    )
    assert_oauth_error(
        post_form(
            sqlite_ann, "/oauth/token", {**grant, "client_secret": key["key"]}, headers=header
        ),
        400,
        "invalid_request",
    )
    assert_oauth_error(
        post_form(sqlite_ann, "/oauth/token", {**grant, "client_id": "doorward"}, headers=header),
        400,
        "invalid_request",
    )
    assert (
        post_form(
            sqlite_ann, "/oauth/token", {**grant, "client_id": key["id"]}, headers=header
        ).status_code
        == 200
    )


def test_bearer_and_api_key_headers_are_not_client_authentication(sqlite_ann):
    key, grant = create_key(sqlite_ann, "orders:read"), {"grant_type": "client_credentials"}
    for headers in (
        {"X-API-Key": key["key"]},
        {"Authorization": f"Bearer {key['key']}"},
        {"Authorization": f"Bearer {sqlite_ann.access}"},
    ):
        assert_oauth_error(
            post_form(sqlite_ann, "/oauth/token", grant, headers=headers), 401, "invalid_client"
        )


def test_failures_count_for_the_source_and_never_for_the_key(make_service):
    service = make_service(roles=ROLES, limit_login="3/minute", limit_key="5/minute")
    ann, stranger, robot = (
        create_key_owner(service),
        service.actor("stranger"),
        service.actor("robot"),
    )
    key = create_key(ann, "orders:read")
    wrong = {**key, "key": key["key"][:-1] + ("a" if key["key"][-1] != "a" else "b")}
    for _ in range(3):
        assert_oauth_error(request_client_token(stranger, wrong), 401, "invalid_client")
    limited = request_client_token(stranger, wrong)
    assert_oauth_error(limited, 429, "slow_down")
    assert int(limited.headers["Retry-After"]) > 0
    assert (
        request_client_token(stranger, key).status_code == 200
    )  # wrong credentials from the same source do not delay the right ones
    for _ in range(4):
        assert request_client_token(robot, key).status_code == 200
    assert_oauth_error(request_client_token(robot, key), 429, "slow_down")
    assert (
        stranger.post(
            "/v1/login", {"username": "ann", "password": "wrong and long enough"}
        ).status_code
        == 401
    )


# Refresh tokens.


def refresh_token(actor, **fields):
    return post_form(
        actor,
        "/oauth/token",
        {"grant_type": "refresh_token", "refresh_token": actor.tokens["refresh_token"], **fields},
    )


def test_refresh_token_grant_works_like_token_refresh(ann):
    answer = refresh_token(ann, client_id="doorward")
    assert answer.status_code == 200
    assert set(answer.json) == {
        "access_token",
        "token_type",
        "expires_in",
        "scope",
        "refresh_token",
        "refresh_expires_in",
        "session_id",
    }
    assert answer.json["session_id"] == ann.tokens["session_id"]
    assert answer.json["refresh_token"] != ann.tokens["refresh_token"]
    assert ann.whoami(answer.json["access_token"]).status_code == 200
    again = refresh_token(ann)  # within the grace period: the same successor
    assert again.json["refresh_token"] == answer.json["refresh_token"]


def test_reused_refresh_token_revokes_the_session_here_too(service, ann):
    first = ann.tokens["refresh_token"]
    assert refresh_token(ann).status_code == 200
    service.clock.push(seconds=31)
    assert_oauth_error(refresh_token(ann), 400, "invalid_grant")
    assert ann.refresh(first).status_code == 400
    assert ann.whoami().status_code == 401


def test_scope_cannot_exceed_the_session_and_refusal_consumes_nothing(service, ann):
    assert refresh_token(ann, scope="orders:read").json["scope"] == " ".join(sorted(ROLES["robot"]))
    ann.login()
    assert_oauth_error(refresh_token(ann, scope="orders:read admin:all"), 400, "invalid_scope")
    service.clock.push(seconds=60)
    assert refresh_token(ann).status_code == 200


@pytest.mark.parametrize(
    "token", ["", "x", "dwr1.", "dwr1.aaaaaaaa.ses_0000000000000000000000.0." + "A" * 43]
)
def test_other_grant_types_are_refused(sqlite_ann, token):
    fields = {"grant_type": "refresh_token", "refresh_token": token}
    assert_oauth_error(
        post_form(sqlite_ann, "/oauth/token", fields),
        400,
        "invalid_grant" if token else "invalid_request",
    )


def test_session_is_bound_to_its_public_client(sqlite_ann):
    key = create_key(sqlite_ann, "orders:read")
    for fields in (
        {"client_id": "other"},
        {"client_id": key["id"]},
        {"client_id": key["id"], "client_secret": key["key"]},
    ):
        assert_oauth_error(refresh_token(sqlite_ann, **fields), 401, "invalid_client")
    fields = {"grant_type": "refresh_token", "refresh_token": sqlite_ann.tokens["refresh_token"]}
    assert_oauth_error(
        post_form(
            sqlite_ann, "/oauth/token", fields, headers=build_basic_auth(key["id"], key["key"])
        ),
        401,
        "invalid_client",
    )
    assert (
        post_form(
            sqlite_ann, "/oauth/token", fields, headers=build_basic_auth("doorward", "")
        ).status_code
        == 200
    )


def test_refresh_grant_shares_the_refresh_limit(make_service):
    service = make_service(roles=ROLES, limit_refresh="2/minute")
    ann = create_key_owner(service)
    assert refresh_token(ann).status_code == 200
    assert ann.refresh().status_code == 200
    assert_oauth_error(refresh_token(ann), 429, "slow_down")


# The form.


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "invalid_request"),
        ("scope=orders:read", "invalid_request"),
        ("grant_type=", "invalid_request"),
        ("grant_type=password&username=ann&password=x", "unsupported_grant_type"),
        ("grant_type=authorization_code&code=x", "unsupported_grant_type"),
        ("grant_type=Client_Credentials", "unsupported_grant_type"),
        ("grant_type=client_credentials&grant_type=client_credentials", "invalid_request"),
        ("grant_type=client_credentials&grant_type=refresh_token", "invalid_request"),
        ("grant_type=client_credentials&scope=&scope=orders:read", "invalid_request"),
        ("grant_type=client_credentials&x=1&x=2", "invalid_request"),
        ("grant_type=client_credentials&grant%5Ftype=refresh_token", "invalid_request"),
        ("grant_type=client_credentials;scope=x", "unsupported_grant_type"),
        ("grant_type", "invalid_request"),
        ("grant_type=client_credentials&&", "invalid_request"),
        ("grant_type=%zz", "invalid_request"),
        ("grant_type=%", "invalid_request"),
        ("grant_type=%ff", "invalid_request"),
        ("grant_type=%00", "invalid_request"),
        ("grant_type=client_credentials%0d%0aX: y", "invalid_request"),
        ("grant_type=client_credentials\r\n", "invalid_request"),
        ("grant_type=client_credentials&scope=" + "a" * 1025, "invalid_request"),
        (
            "grant_type=client_credentials&" + "&".join(f"a{number}=1" for number in range(40)),
            "invalid_request",
        ),
        ('{"grant_type":"client_credentials"}', "invalid_request"),
        (b"grant_type=client_credentials\xff", "invalid_request"),
    ],
)
def test_malformed_form_is_refused(sqlite_ann, body, error):
    key = create_key(sqlite_ann, "orders:read")
    assert_oauth_error(
        post_form(
            sqlite_ann, "/oauth/token", body, headers=build_basic_auth(key["id"], key["key"])
        ),
        400,
        error,
    )


def test_query_parameters_are_ignored(sqlite_ann):
    key = create_key(sqlite_ann, "orders:read")
    header, grant = build_basic_auth(key["id"], key["key"]), {"grant_type": "client_credentials"}
    for query in (
        "?grant_type=client_credentials",
        "?scope=orders:read",
        f"?client_secret={key['key']}",
        "?x",
    ):
        assert_oauth_error(
            post_form(sqlite_ann, "/oauth/token", grant, headers=header, query=query),
            400,
            "invalid_request",
        )


def test_unknown_parameters_are_ignored(sqlite_ann):
    key = create_key(sqlite_ann, "orders:read")
    assert (
        request_client_token(
            sqlite_ann, key, resource="https://api.example.com", audience="x"
        ).status_code
        == 200
    )


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
def test_every_oauth_error_has_the_oauth_shape(sqlite_ann, path):
    for method in ("GET", "PUT", "DELETE"):
        answer = sqlite_ann.call(method, path)
        assert_oauth_error(answer, 405, "invalid_request")
        assert "POST" in answer.headers["Allow"]
    assert_oauth_error(sqlite_ann.call("POST", path, json={"token": "x"}), 415, "invalid_request")
    assert_oauth_error(
        sqlite_ann.call("POST", path, data="token=x", content_type="text/plain"),
        415,
        "invalid_request",
    )
    assert_oauth_error(
        sqlite_ann.call("POST", path, data="token=x", content_type=f"{FORM}; charset=utf-16"),
        415,
        "invalid_request",
    )
    assert_oauth_error(
        sqlite_ann.call("POST", path, data="a=" + "x" * 20000, content_type=FORM),
        413,
        "invalid_request",
    )
    assert_oauth_error(
        sqlite_ann.call(
            "POST", path, data="a=x", content_type=FORM, headers={"Transfer-Encoding": "chunked"}
        ),
        411,
        "invalid_request",
    )
    assert_oauth_error(
        sqlite_ann.call(
            "POST", path, data="a=x", content_type=FORM, headers={"Host": "evil.example"}
        ),
        400,
        "invalid_request",
    )


def test_unknown_oauth_path_has_the_oauth_error_shape(sqlite_ann):
    assert_oauth_error(sqlite_ann.call("POST", "/oauth/nothing"), 404, "invalid_request")
    assert_oauth_error(sqlite_ann.get("/oauth/token/"), 404, "invalid_request")


def test_database_fault_is_503_and_not_invalid_client(sqlite_service, sqlite_ann):
    key = create_key(sqlite_ann, "orders:read")
    sqlite_service.close()
    Path(sqlite_service.settings.database_url.removeprefix("sqlite:///")).write_bytes(
        b"no database at all" * 1000
    )
    assert_oauth_error(request_client_token(sqlite_ann, key), 500, "server_error")


def test_secrets_appear_in_no_log_and_no_repr(sqlite_service, sqlite_ann, capfd):
    key = create_key(sqlite_ann, "orders:read")
    answer = request_client_token(sqlite_ann, key)
    request_client_token(sqlite_ann, {**key, "key": key["key"][:-1]})
    refresh_token(sqlite_ann)
    output = "".join(capfd.readouterr())
    for secret in (key["key"], answer.json["access_token"], sqlite_ann.tokens["refresh_token"]):
        assert secret not in output
