"""Checks before a request is handled, the format of errors, and the headers of all responses."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path

import pytest

from app.settings import Environment
from tests.postgres import find_free_port

JSON = {"content_type": "application/json"}
LOGIN = "/v1/login"


@pytest.fixture
def anonymous(make_service):
    return make_service(limit_login="1000/minute").actor("stranger")


def is_problem(answer, status: int, code: str) -> bool:
    """Check that the response is a problem document with this status and code."""
    assert answer.status_code == status, answer.data
    assert answer.content_type == "application/problem+json"
    document = answer.json
    assert document["code"] == code, document
    assert document["status"] == status
    assert re.fullmatch(r"urn:doorward:problem:[a-z_]+|https://\S+", document["type"])
    assert document["title"]
    assert document["request_id"] == answer.headers["X-Request-Id"]
    assert set(document) <= {
        "type",
        "title",
        "status",
        "detail",
        "code",
        "request_id",
        "errors",
        "violated-policies",
        "checks",
    }
    return True


def has_security_headers(answer, *, cached: bool = False) -> bool:
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert (
        int(re.search(r"max-age=(\d+)", answer.headers["Strict-Transport-Security"])[1]) >= 31536000
    )
    assert re.fullmatch(r"[A-Za-z0-9_-]{8,64}", answer.headers["X-Request-Id"])
    assert "Server" not in answer.headers
    assert "Set-Cookie" not in answer.headers
    if not cached:
        assert answer.headers["Cache-Control"] == "no-store"
        assert (
            answer.headers["Content-Security-Policy"]
            == "default-src 'none'; frame-ancestors 'none'"
        )
    return True


# Bodies.


NO_JSON = [
    b"{",
    b"[]",
    b"null",
    b'"x"',
    b"1",
    b'{"username":"a","username":"b"}',
    rb'{"username":"a","\u0075sername":"b"}',
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":1e999}',
    b'{"a":' + b"9" * 30 + b"}",
    b'{"a":' + b"9" * 16000 + b"}",
    b"\xef\xbb\xbf{}",
    '{"username":"ann"}'.encode("utf-16"),
    '{"username":"ann"}'.encode("utf-16-be"),
    b'{"username":"\xff"}',
    b"[" * 16000,
    b'{"a":' + b"[" * 700 + b"]" * 700 + b"}",
    b'{"a":' * 700 + b"1" + b"}" * 700,
    b'{"a":' + b"[" * 16 + b"]" * 16 + b"}",
]


def test_invalid_json_is_400(anonymous):
    for raw in NO_JSON:
        answer = anonymous.call("POST", LOGIN, data=raw, **JSON)
        assert is_problem(answer, 400, "invalid_json")
        assert answer.json["detail"]


def test_deeply_nested_json_causes_no_fault(anonymous):
    for levels in range(300, 1001, 50):
        raw = b'{"a":' + b"[" * levels + b"]" * levels + b"}"
        assert is_problem(anonymous.call("POST", LOGIN, data=raw, **JSON), 400, "invalid_json"), (
            levels
        )


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (rb'{"username":"a\u0000b","password":"x"}', "/username"),
        (rb'{"username":"a\ud800b","password":"x"}', "/username"),
        (rb'{"username":"a","password":"\udfff"}', "/password"),
        (rb'{"username":"a","password":"x","a\u0000b":1}', ""),
        (rb'{"username":"a","password":"x","a\ud800b":1}', ""),
    ],
)
def test_unstorable_characters_are_422_with_a_pointer(anonymous, body, pointer):
    answer = anonymous.call("POST", LOGIN, data=body, **JSON)
    assert is_problem(answer, 422, "validation_failed")
    assert list(answer.json["errors"]) == [pointer]


def test_unknown_fields_are_named(anonymous):
    answer = anonymous.post(
        LOGIN, {"username": "a", "password": "b", "a/b": 1, "c~d": 2, "__proto__": 3}
    )
    assert is_problem(answer, 422, "validation_failed")
    assert set(answer.json["errors"]) == {"/a~1b", "/c~0d", "/__proto__"}


NOT_CALLED_JSON = [
    None,
    "",
    "text/plain",
    "text/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/evil+json",
    "application/json-seq",
    "application/jsonp",
    "application/json; charset=utf-16",
    "application/json; charset=utf-7",
    "application/json; charset=latin-1",
    "application/json, text/plain",
    "json",
]


def test_wrong_content_type_is_415(anonymous):
    for content_type in NOT_CALLED_JSON:
        headers = {} if content_type is None else {"Content-Type": content_type}
        answer = anonymous.call(
            "POST", LOGIN, data=b'{"username":"a","password":"b"}', headers=headers
        )
        assert is_problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        'application/json; charset="utf-8"',
    ],
)
def test_content_type_is_case_insensitive(anonymous, content_type):
    answer = anonymous.call(
        "POST",
        LOGIN,
        data=b'{"username":"a","password":"b"}',
        headers={"Content-Type": content_type},
    )
    assert is_problem(answer, 401, "invalid_credentials")


def test_missing_body_is_read_as_an_empty_object(anonymous):
    answer = anonymous.call("POST", LOGIN)
    assert is_problem(answer, 422, "validation_failed")
    assert set(answer.json["errors"]) == {"/username", "/password"}
    assert anonymous.call("POST", LOGIN, headers={"Content-Type": "text/plain"}).status_code == 422


@pytest.mark.parametrize("encoding", ["chunked", "identity", "gzip, chunked"])
def test_body_without_content_length_is_411(anonymous, encoding):
    answer = anonymous.call("POST", LOGIN, data=b"{}", headers={"Transfer-Encoding": encoding})
    assert is_problem(answer, 411, "length_required")


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", LOGIN), ("GET", "/v1/methods"), ("POST", "/nowhere"), ("PATCH", "/v1/me")],
)
def test_body_over_16_kib_is_413_on_every_route(anonymous, method, path):
    answer = anonymous.call(method, path, data=b"x" * (16 * 1024 + 1))
    assert is_problem(answer, 413, "body_too_large")


def test_body_of_16_kib_is_accepted(anonymous):
    body = b'{"username":"a","password":"b"}'.ljust(16 * 1024)
    assert anonymous.call("POST", LOGIN, data=body, **JSON).status_code == 401
    assert anonymous.call("POST", LOGIN, data=body + b" ", **JSON).status_code == 413


LENGTHS = [
    ("50", 400),
    ("99999999999999999999999", 400),
    ("9999999999", 413),
    ("-1", 400),
    ("+2", 400),
    ("2, 2", 400),
    ("0x2", 400),
    ("²", 400),
]


def test_invalid_or_wrong_content_length_is_refused(anonymous):
    for length, status in LENGTHS:
        client = anonymous.service.app.test_client()
        answer = client.post(
            LOGIN,
            data=b"{}",
            content_type="application/json",
            environ_overrides={"CONTENT_LENGTH": length},
        )
        assert answer.status_code == status
        assert answer.content_type == "application/problem+json"


def test_get_ignores_its_body_but_not_its_size(anonymous):
    assert anonymous.call("GET", "/v1/methods", data=b"{", **JSON).status_code == 200


# Failures.


def test_unknown_paths_are_404_before_anything_else(anonymous):
    for path in (
        "/nowhere",
        "/v1",
        "/v1/",
        "/v1/login/",
        "/v1//login",
        "/V1/login",
        "/v1/login/x",
        "/%2e%2e/etc/passwd",
        "/static/../app.py",
        "/static/%2e%2e/x",
    ):
        for method in ("GET", "POST", "DELETE"):
            answer = anonymous.call(method, path)
            if answer.status_code != 405:
                assert is_problem(answer, 404, "no_such_address"), path


NOT_ANSWERED = [
    ("GET", LOGIN, {"POST", "OPTIONS"}),
    ("PUT", "/v1/me", {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
    ("POST", "/v1/sessions", {"GET", "HEAD", "DELETE", "OPTIONS"}),
    ("POST", "/livez", {"GET", "HEAD", "OPTIONS"}),
    ("TRACE", "/v1/methods", {"GET", "HEAD", "OPTIONS"}),
    ("CONNECT", "/v1/methods", {"GET", "HEAD", "OPTIONS"}),
    ("BREW", "/v1/methods", {"GET", "HEAD", "OPTIONS"}),
    ("PATCH", "/.well-known/jwks.json", {"GET", "HEAD", "OPTIONS"}),
]


def test_unsupported_method_is_405_with_allow(anonymous):
    for method, path, allowed in NOT_ANSWERED:
        answer = anonymous.call(method, path)
        assert is_problem(answer, 405, "method_not_allowed")
        assert set(re.split(r",\s*", answer.headers["Allow"])) == allowed


def test_internal_error_is_500_without_details(sqlite_service, capfd):
    ann = sqlite_service.actor().sign_in()
    sqlite_service.scalar("UPDATE accounts SET metadata = '{planted' RETURNING id")
    answer = ann.get("/v1/me", token=ann.access)
    assert is_problem(answer, 500, "internal_error")
    assert set(answer.json) == {"type", "title", "status", "code", "request_id"}
    assert has_security_headers(answer)
    output = capfd.readouterr().out
    assert "Traceback" in output
    assert answer.json["request_id"] in output


def test_failing_credential_check_is_503_and_never_401(sqlite_service):
    ann = sqlite_service.actor().sign_in()
    sqlite_service.scalar("UPDATE sessions SET absolute_until = 'planted' RETURNING id")
    answer = ann.whoami()
    assert is_problem(answer, 503, "unavailable")
    assert "Retry-After" in answer.headers


def test_unreadable_signing_keys_are_503_and_never_401(make_service, sqlite_url):
    ann = make_service(sqlite_url).actor().sign_in()
    ann.service = make_service(sqlite_url, secret_key=("another secret another secret 0123456789",))
    for answer in (
        ann.whoami(),
        ann.login(),
        ann.refresh(),
        ann.logout(),
        ann.get("/.well-known/jwks.json"),
    ):
        assert is_problem(answer, 503, "unavailable")
    assert ann.get("/livez").status_code == 200
    assert ann.get("/readyz").json["checks"]["keys"] == "failed"


def test_every_response_carries_the_security_headers(sqlite_service):
    ann = sqlite_service.actor().sign_in()
    answers = [
        ann.whoami(),
        ann.call("HEAD", "/v1/whoami", token=ann.access),
        ann.whoami("x"),
        ann.get("/nowhere"),
        ann.get(LOGIN),
        ann.call("OPTIONS", LOGIN),
        ann.call("OPTIONS", LOGIN, headers={"Access-Control-Request-Method": "POST"}),
        ann.call("OPTIONS", "/nowhere"),
        ann.call("TRACE", "/v1/whoami"),
        ann.call("POST", LOGIN, data=b"{", **JSON),
        ann.call("POST", LOGIN, data=b"{}"),
        ann.post(LOGIN, {}),
        ann.post(LOGIN, {"username": "ann", "password": "wrong"}),
        ann.call("POST", LOGIN, data=b"x" * 20000),
        ann.call("POST", LOGIN, headers={"Transfer-Encoding": "chunked"}),
        ann.get("/v1/methods", headers={"Host": "evil.example"}),
        ann.get("/livez"),
        ann.get("/readyz"),
        ann.get("/version"),
        ann.get("/openapi.json"),
        ann.call("DELETE", "/v1/sessions", token=ann.access),
        ann.logout(),
    ]
    assert {answer.status_code for answer in answers} >= {
        200,
        204,
        400,
        401,
        404,
        405,
        411,
        413,
        415,
        422,
    }
    for answer in answers:
        assert has_security_headers(answer)
    for path in ("/.well-known/jwks.json", "/docs", "/static/nowhere.css"):
        assert has_security_headers(ann.get(path), cached=True)


def test_every_401_has_a_challenge(anonymous):
    for answer in (
        anonymous.get("/v1/me"),
        anonymous.get("/v1/me", token="x"),
        anonymous.post(LOGIN, {"username": "a", "password": "b"}),
        anonymous.post("/v1/logout"),
    ):
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="doorward"')


def test_no_route_reads_a_cookie(sqlite_service):
    ann = sqlite_service.actor().sign_in()
    for cookie in (
        f"refresh_token={ann.tokens['refresh_token']}",
        f"access_token={ann.access}",
        f"session={ann.access}",
    ):
        assert ann.post("/v1/token/refresh", {}, headers={"Cookie": cookie}).status_code == 422
        assert ann.post("/v1/logout", {}, headers={"Cookie": cookie}).status_code == 401


# Hosts, request ids, trusted proxies.


FOREIGN_HOSTS = [
    "evil.example",
    "127.0.0.1.evil.example",
    "evil.example:8080",
    "localhost@evil.example",
    "",
    "localhost:80a",
    "localhost:²",
    "*",
    "bad host",
    "localhost/x",
    "localhost,evil.example",
]


def test_untrusted_host_is_400(anonymous):
    for host in FOREIGN_HOSTS:
        for method, path in (
            ("GET", "/v1/methods"),
            ("POST", LOGIN),
            ("GET", "/nowhere"),
            ("OPTIONS", LOGIN),
        ):
            assert is_problem(
                anonymous.call(method, path, headers={"Host": host}), 400, "untrusted_host"
            )
        for path in ("/livez", "/readyz"):
            assert anonymous.get(path, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["login.example.org", "LOGIN.example.org:443", "other.example.org"]
)
def test_production_accepts_only_its_own_host_names(make_service, host):
    service = make_service(
        env=Environment.PRODUCTION, public_url="https://login.example.org", trusted_hosts=("login.example.org", "other.example.org"),
        smtp_url="smtp://127.0.0.1:1", argon2_memory_kib=19456, argon2_time_cost=2,
    )  # fmt: skip
    anonymous = service.actor()
    assert anonymous.get("/v1/methods", headers={"Host": host}).status_code == 200


def test_forwarded_hosts_are_never_used(anonymous):
    hostile = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Prefix": "/evil.example",
        "Forwarded": "host=evil.example",
        "X-Original-URL": "/v1/me",
        "X-Rewrite-URL": "/v1/me",
    }
    answer = anonymous.get("/v1/methods", headers=hostile)
    assert answer.status_code == 200
    assert answer.json["items"][0]["login_url"] == "http://127.0.0.1:8080/v1/login"
    assert (
        anonymous.get("/v1/methods", headers={**hostile, "Host": "evil.example"}).status_code == 400
    )
    assert (
        anonymous.post(
            "/v1/register",
            {"username": "stranger", "email": "stranger@example.org", "name": "N"},
            headers=hostile,
        ).status_code
        == 202
    )
    mail = anonymous.mail()
    assert "evil.example" not in mail["text"] + mail["html"]
    assert mail["links"][0].startswith("http://127.0.0.1:8080/confirm/")


def test_forwarded_for_is_trusted_only_from_trusted_proxies(make_service):
    service = make_service(trusted_proxies=(ipaddress.ip_network("10.9.0.0/16"),))
    proxied = service.actor("ann", address="10.9.0.1").sign_up()
    proxied.call(
        "POST",
        LOGIN,
        json={"username": "ann", "password": proxied.password},
        headers={"X-Forwarded-For": "6.6.6.6, 198.51.100.7"},
    )
    direct = service.actor("ann", address="203.0.113.5")
    direct.call(
        "POST",
        LOGIN,
        json={"username": "ann", "password": proxied.password},
        headers={"X-Forwarded-For": "198.51.100.7"},
    )
    proxied.login()
    addresses = [
        item["address"] for item in proxied.get("/v1/sessions", token=proxied.access).json["items"]
    ]
    assert addresses == ["10.9.0.1", "203.0.113.5", "198.51.100.7"]


def test_rate_limits_use_the_trusted_client_ip_address(make_service):
    service = make_service(
        trusted_proxies=(ipaddress.ip_network("10.9.0.0/16"),), limit_login="1/minute"
    )
    proxied, direct = (
        service.actor("a", address="10.9.0.1"),
        service.actor("b", address="203.0.113.5"),
    )

    def try_login(actor, forwarded):
        return actor.post(
            LOGIN, {"username": "x", "password": "y"}, headers={"X-Forwarded-For": forwarded}
        ).status_code

    assert [try_login(proxied, f"198.51.100.{n}") for n in (1, 2, 1)] == [401, 401, 429]
    assert [try_login(direct, f"198.51.100.{n}") for n in (3, 4)] == [401, 429]
    assert [try_login(proxied, f"2001:db8::{n}") for n in (1, 2)] == [401, 429]
    assert try_login(proxied, "2001:db8:0:1::1") == 401


def test_a_link_local_gateway_address_with_an_interface_name_can_log_in(
    make_service, empty_postgres_url
):
    service = make_service(
        empty_postgres_url, trusted_proxies=(ipaddress.ip_network("10.9.0.0/16"),)
    )
    ann = service.actor(address="10.9.0.1").sign_up()
    answer = ann.post(
        LOGIN,
        {"username": "ann", "password": ann.password},
        headers={"X-Forwarded-For": "fe80::1%" + "x" * 200},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("received", "kept"),
    [
        ("req-1234_ABC", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("short", False),
        ("a b c d e f", False),
        ("é" * 10, False),
        ("12345678'", False),
    ],
)
def test_request_id_is_accepted_only_from_trusted_proxies(make_service, received, kept):
    service = make_service(trusted_proxies=(ipaddress.ip_network("10.9.0.0/16"),))
    proxied, direct = service.actor(address="10.9.0.1"), service.actor(address="203.0.113.5")
    assert (
        proxied.get("/v1/methods", headers={"X-Request-Id": received}).headers["X-Request-Id"]
        == received
    ) is kept
    assert (
        direct.get("/v1/methods", headers={"X-Request-Id": received})
        .headers["X-Request-Id"]
        .startswith("req_")
    )


def test_every_request_has_its_own_id(anonymous):
    names = {anonymous.get("/livez").headers["X-Request-Id"] for _ in range(20)}
    assert len(names) == 20


# CORS.

APP = "https://app.example.org"
PREFLIGHT = {
    "Access-Control-Request-Method": "DELETE",
    "Access-Control-Request-Headers": "authorization",
}


@pytest.fixture
def cors_service(make_service):
    return make_service(cors_origins=(APP, "http://localhost:3000")).actor().sign_in()


def get_allowed_origin(answer):
    return answer.headers.get("Access-Control-Allow-Origin")


def test_no_cors_headers_without_configured_origins(anonymous):
    for answer in (
        anonymous.get("/v1/methods", headers={"Origin": APP}),
        anonymous.call("OPTIONS", "/v1/sessions", headers={"Origin": APP, **PREFLIGHT}),
    ):
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
        assert "Vary" not in answer.headers


@pytest.mark.parametrize("origin", [APP, "http://localhost:3000"])
def test_configured_origin_can_read_responses_and_errors(cors_service, origin):
    answers = [
        cors_service.whoami(),
        cors_service.get("/v1/methods", headers={"Origin": origin}),
        cors_service.get("/nowhere", headers={"Origin": origin}),
        cors_service.get("/v1/me", headers={"Origin": origin}),
        cors_service.post(LOGIN, {}, headers={"Origin": origin}),
        cors_service.call("POST", LOGIN, data=b"x" * 20000, headers={"Origin": origin}),
    ]
    assert get_allowed_origin(answers[0]) is None
    for answer in answers:
        assert "Origin" in answer.headers["Vary"]
    assert not any("Access-Control-Allow-Credentials" in answer.headers for answer in answers[:4])
    for answer in answers[1:]:
        assert get_allowed_origin(answer) == origin
        assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


FOREIGN_ORIGINS = (
    ["null", "*", "https://evil.example", "http://app.example.org", "https://app.example.org:8443", "https://app.example.org.evil.example",
     "https://evil-app.example.org", "https://sub.app.example.org", "https://app.example.org/", "HTTPS://APP.EXAMPLE.ORG", f"{APP}, {APP}", "http://localhost:3001", ""]
)  # fmt: skip


def test_other_origins_get_no_cors_headers(cors_service):
    for origin in FOREIGN_ORIGINS:
        for answer in (
            cors_service.get("/v1/methods", headers={"Origin": origin}),
            cors_service.call("OPTIONS", "/v1/sessions", headers={"Origin": origin, **PREFLIGHT}),
        ):
            assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
            assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/sessions", {"GET", "HEAD", "DELETE", "OPTIONS"}),
        ("/v1/me", {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}),
        (LOGIN, {"POST", "OPTIONS"}),
    ],
)
def test_preflight_lists_every_method_of_the_path(cors_service, path, methods):
    answer = cors_service.call("OPTIONS", path, headers={"Origin": APP, **PREFLIGHT})
    assert answer.status_code == 204
    assert get_allowed_origin(answer) == APP
    assert set(answer.headers["Access-Control-Allow-Methods"].split(", ")) == methods
    assert {"authorization", "content-type"} <= set(
        answer.headers["Access-Control-Allow-Headers"].lower().split(", ")
    )
    assert int(answer.headers["Access-Control-Max-Age"]) > 0


def test_preflight_of_an_unknown_path_is_404(cors_service):
    assert (
        cors_service.call("OPTIONS", "/nowhere", headers={"Origin": APP, **PREFLIGHT}).status_code
        == 404
    )


# Database outages.


def test_database_outage_is_503_and_the_process_stays_alive(make_service, sqlite_service):
    ann = sqlite_service.actor().sign_in()
    away = make_service(f"postgresql+psycopg://nobody:nothing@127.0.0.1:{find_free_port()}/nowhere")
    ann.service = away
    session = f"/v1/sessions/{ann.tokens['session_id']}"
    answers = [
        ann.whoami(),
        ann.whoami("junk"),
        ann.get("/v1/me", token=ann.access),
        ann.call("PATCH", "/v1/me", json={"name": "x"}, token=ann.access),
        ann.get("/v1/sessions", token=ann.access),
        ann.call("DELETE", session, token=ann.access),
        ann.refresh(),
        ann.post("/v1/logout", {"refresh_token": ann.tokens["refresh_token"]}),
        ann.logout(),
        ann.post("/v1/logout-all", token=ann.access),
        ann.login(),
        ann.register(),
        ann.get("/.well-known/jwks.json"),
    ]
    for answer in answers:
        assert is_problem(answer, 503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert has_security_headers(answer)
        assert "127.0.0.1" not in answer.text
    assert ann.get("/livez").json == {"status": "alive"}
    assert ann.get("/version").status_code == 200
    ready = ann.get("/readyz")
    assert is_problem(ready, 503, "not_ready")
    assert ready.json["checks"]["database"] == "failed"


def test_database_outage_ends_no_session(sqlite_service, sqlite_url, tmp_path):
    ann = sqlite_service.actor().sign_in()
    database = sqlite_service.units.database
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    database.engine.dispose()
    database.autocommit_engine.dispose()
    path.rename(tmp_path / "aside.db")
    path.mkdir()
    for answer in (ann.whoami(), ann.refresh(), ann.login(), ann.logout()):
        assert is_problem(answer, 503, "unavailable")
    path.rmdir()
    (tmp_path / "aside.db").rename(path)
    assert ann.whoami().status_code == 200
    assert ann.refresh().status_code == 200
