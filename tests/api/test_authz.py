"""Gateway checks: five statuses, every identity header in every response, for any kind of request."""

from __future__ import annotations

import io
import json
import shutil
import socket
from contextlib import suppress

import pytest
import redis

from app.adapters import logs
from app.authorization.roles.assign import add_role
from app.principal import ClientInfo
from app.server.cache_watcher import CacheWatcher
from app.settings import GatewayPolicy
from app.verification.identity_headers import IDENTITY_HEADERS
from app.web.gateway_requests import normalize_path
from tests.actors import Service, build_settings
from tests.output import CurrentStdout
from tests.request_cost import count_work

QUESTIONS = ("/authz/auth-request", "/authz/forward-auth", "/authz/ext-authz")
METHODS = (
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PROPFIND",
    "SOMETHING",
)
NOBODY = ClientInfo(address="", bucket="", user_agent="", request_id="", locale="en")
RIGHTS = {
    "roles": {"clerk": ("orders:read", "orders:write"), "guest": ("orders:read",)},
    "policies": {
        "orders": GatewayPolicy(scopes=("orders:read",)),
        "both": GatewayPolicy(scopes=("orders:read", "orders:write")),
        "desk": GatewayPolicy(roles=("clerk", "manager")),
        "signed": GatewayPolicy(audience="https://orders.example"),
    },
}
SPOOFED = dict.fromkeys(
    (*IDENTITY_HEADERS, "X-Auth-Error", "X_Auth_Subject", "X.Auth.Subject", "Remote-User"),
    "acc_somebody",
)


@pytest.fixture
def service(make_service, database_url):
    return make_service(database_url, **RIGHTS)


@pytest.fixture(scope="module")
def shared_ann(sqlite_template, tmp_path_factory):
    """Share a service and an account without roles between read-only tests."""
    path = tmp_path_factory.mktemp("asker") / "doorward.db"
    shutil.copy(sqlite_template, path)
    service = Service(build_settings(f"sqlite:///{path}", **RIGHTS))
    yield service.actor("ann").sign_in()
    service.close()


@pytest.fixture
def lines():
    """Record log lines."""
    stream = io.StringIO()
    logs.configure_logging(stream)
    yield stream
    logs.configure_logging(CurrentStdout())


@pytest.fixture
def sqlite_service(make_service):
    return make_service(**RIGHTS)


def grant_roles(actor, *roles: str) -> None:
    with actor.service.units.open_read_write() as work:
        for role in roles:
            assert add_role(work, NOBODY, account_id=actor.tokens["account"]["id"], role=role)
    assert actor.login().status_code == 200


def create_key(actor, *scopes: str) -> str:
    response = actor.post(
        "/v1/api-keys", {"name": f"of {len(scopes)}", "scopes": list(scopes)}, token=actor.access
    )
    assert response.status_code == 201, response.text
    return response.json["key"]


def call_with_key(actor, path: str, key: str, method: str = "GET"):
    return actor.call(method, path, headers={"X-API-Key": key})


def read_identity(answer) -> dict[str, str]:
    """Return the identity headers, and assert that each is present once."""
    assert all(len(answer.headers.getlist(name)) == 1 for name in IDENTITY_HEADERS), answer.headers
    assert {"Authorization", "X-API-Key", "Cookie"} <= set(answer.vary)
    assert answer.headers["Cache-Control"] == "no-store"
    return {name: answer.headers[name] for name in IDENTITY_HEADERS}


def assert_refused(answer, status: int, code: str) -> None:
    assert (answer.status_code, answer.headers["X-Auth-Error"]) == (status, code), answer.text
    assert set(read_identity(answer).values()) == {""}
    assert answer.headers.get("Retry-After", "").isdigit() == (status in {429, 503})
    assert ("WWW-Authenticate" in answer.headers) == (status == 401 or code == "insufficient_scope")
    assert answer.json["code"] == code


@pytest.mark.parametrize("question", QUESTIONS)
def test_live_session_passes_with_identity_headers(service, question):
    ann = service.actor("ann").sign_in()
    grant_roles(ann, "guest", "clerk")
    answer = ann.get(f"{question}/default", token=ann.access)
    assert (answer.status_code, answer.data) == (200, b"")
    assert "X-Auth-Error" not in answer.headers
    assert read_identity(answer) == {
        "X-Auth-Subject": ann.tokens["account"]["id"],
        "X-Auth-Username": "ann",
        "X-Auth-Roles": "clerk guest",
        "X-Auth-Scopes": "orders:read orders:write",
        "X-Auth-Session": ann.tokens["session_id"],
        "X-Auth-Key": "",
        "X-Auth-Identity": "",
    }
    ann.logout()
    assert_refused(ann.get(f"{question}/default", token=ann.access), 401, "unauthenticated")


def test_api_key_passes_with_identity_headers_and_without_roles(service):
    ann = service.actor("ann").sign_in()
    grant_roles(ann, "clerk")
    key = create_key(ann, "orders:read")
    for sent in ({"X-API-Key": key}, {"Authorization": f"Bearer {key}"}):
        answer = ann.get("/authz/forward-auth/orders", headers=sent)
        assert answer.status_code == 200
        assert {name: text for name, text in read_identity(answer).items() if text} == {
            "X-Auth-Subject": ann.tokens["account"]["id"],
            "X-Auth-Username": "ann",
            "X-Auth-Scopes": "orders:read",
            "X-Auth-Key": "_".join(["key", key.split("_")[1]]),
        }
    assert_refused(call_with_key(ann, "/authz/forward-auth/desk", key), 403, "forbidden")
    assert_refused(call_with_key(ann, "/authz/forward-auth/both", key), 403, "insufficient_scope")


@pytest.mark.parametrize("question", QUESTIONS)
def test_policy_requires_all_scopes_and_any_role(sqlite_service, question):
    ann, bob = (sqlite_service.actor(name).sign_in() for name in ("ann", "bob"))
    grant_roles(ann, "clerk")
    grant_roles(bob, "guest")
    answers_by_policy = {
        policy: [actor.get(f"{question}/{policy}", token=actor.access) for actor in (ann, bob)]
        for policy in RIGHTS["policies"]
    }
    assert {
        policy: [answer.status_code for answer in answers]
        for policy, answers in answers_by_policy.items()
    } == {"orders": [200, 200], "both": [200, 403], "desk": [200, 403], "signed": [200, 200]}
    assert_refused(answers_by_policy["both"][1], 403, "insufficient_scope")
    assert (
        'scope="orders:read orders:write"'
        in answers_by_policy["both"][1].headers["WWW-Authenticate"]
    )
    assert_refused(answers_by_policy["desk"][1], 403, "forbidden")


def test_configured_default_policy_is_enforced(make_service):
    service = make_service(policies={"default": GatewayPolicy(roles=("clerk",))})
    ann = service.actor("ann").sign_in()
    for path in ("/authz/auth-request", "/authz/forward-auth/", "/authz/ext-authz/default/"):
        assert_refused(ann.get(path, token=ann.access), 403, "forbidden")


def test_changed_rights_apply_at_the_next_check(sqlite_service):
    ann = sqlite_service.actor("ann").sign_in()
    token = ann.access
    assert_refused(ann.get("/authz/forward-auth/desk", token=token), 403, "forbidden")
    with sqlite_service.units.open_read_write() as work:
        assert add_role(work, NOBODY, account_id=ann.tokens["account"]["id"], role="clerk")
    assert ann.get("/authz/forward-auth/desk", token=token).status_code == 200


def test_roles_beyond_those_in_the_token_count_too(make_service):
    roles = [f"role-{number:02}-{'x' * 20}" for number in range(30)]
    service = make_service(
        roles=dict.fromkeys(roles, ()), policies={"last": GatewayPolicy(roles=(roles[-1],))}
    )
    ann = service.actor("ann").sign_in()
    grant_roles(ann, *roles)
    answer = ann.get("/authz/forward-auth/last", token=ann.access)
    assert answer.status_code == 200
    assert answer.headers["X-Auth-Roles"].split(" ") == roles


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    "policy",
    [
        "unknown",
        "default2",
        "DEFAULT",
        "..",
        "%2e%2e",
        "d%C3%A9fault",
        "%0d%0aX-A:%20b",
        "-",
        "a" * 33,
    ],
)
def test_unknown_policy_is_a_logged_fault(shared_ann, question, policy, lines):
    for token in (shared_ann.access, None):
        assert_refused(shared_ann.get(f"{question}/{policy}", token=token), 503, "unknown_policy")
    assert lines.getvalue().count('"event": "unknown policy"') == 2


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/authz/auth-request", "/authz/auth-request/default"),
        ("/authz/auth-request/", "/authz/auth-request/default"),
        ("/authz/forward-auth", "/authz/forward-auth/default"),
        ("/authz/forward-auth/orders/", "/authz/forward-auth/orders"),
        ("/authz/forward-auth/orders/more", None),
        ("/authz/forward-auth//orders", None),
        ("/authz/auth-request/../ext-authz/orders", None),
        ("/authz/ext-authz/orders", "/authz/ext-authz/orders"),
        ("/authz/ext-authz/orders/", "/authz/ext-authz/orders"),
        ("/authz/ext-authz/orders//../../auth-request/default", "/authz/ext-authz/orders"),
        ("/authz/ext-authz/orders/\r\n\0\xff", "/authz/ext-authz/orders"),
        # Without a policy in the configuration, callers must not choose one by their path.
        ("/authz/ext-authz", None),
        ("/authz/ext-authz/", None),
        ("/authz/ext-authz//orders", None),
        ("/authz", None),
        ("/authz/", None),
        ("/authz//auth-request/orders", None),
        ("/authz/else/orders", None),
    ],
)
def test_policy_comes_from_the_path_alone(path, expected):
    assert normalize_path(path) == (expected or "/authz/auth-request/-")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "path",
    [
        "/authz/auth-request",
        "/authz/forward-auth/default",
        "/authz/ext-authz/default/a//b/%2e%2e/%2f%ff?x",
    ],
)
def test_method_and_path_of_the_original_request_are_ignored(shared_ann, method, path):
    preflight = {"Origin": "https://app.example", "Access-Control-Request-Method": "PUT"}
    assert_refused(shared_ann.call(method, path, headers=preflight), 401, "unauthenticated")
    answer = shared_ann.call(method, path, token=shared_ann.access, headers=preflight)
    assert (answer.status_code, read_identity(answer)["X-Auth-Username"]) == (200, "ann")


@pytest.mark.parametrize("question", QUESTIONS)
def test_head_is_answered_like_get_without_a_body(shared_ann, question):
    answer = shared_ann.call("HEAD", f"{question}/default", token=shared_ann.access)
    assert (answer.status_code, answer.data, read_identity(answer)["X-Auth-Username"]) == (
        200,
        b"",
        "ann",
    )
    refused = shared_ann.call("HEAD", f"{question}/default")
    assert (refused.status_code, refused.data, refused.headers["X-Auth-Error"]) == (
        401,
        b"",
        "unauthenticated",
    )


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(
    "query",
    [
        "policy=default",
        "scopes=",
        "roles=",
        "policy=default&policy=",
        "access_token={token}",
        "token={token}",
        "%ff=%00",
        "&&==",
        "a" * 3000,
    ],
)
def test_query_is_ignored(shared_ann, question, query):
    path = f"{question}/orders?{query.format(token=shared_ann.access)}"
    assert_refused(shared_ann.get(path, token=shared_ann.access), 403, "insufficient_scope")
    assert_refused(shared_ann.get(path), 401, "unauthenticated")


@pytest.mark.parametrize(
    "host", ["evil.example", "", "a b", "[::1", "127.0.0.1:x", "authz,evil.example", "\xff"]
)
def test_any_host_header_is_accepted(shared_ann, host):
    for question in QUESTIONS:
        answer = shared_ann.get(
            f"{question}/default", token=shared_ann.access, headers={"Host": host}
        )
        assert (answer.status_code, "evil.example" in str(answer.headers)) == (200, False)


@pytest.mark.parametrize(
    "sent",
    [
        {"data": b"{", "content_type": "application/json"},
        {"data": b"x" * 100_000, "content_type": "text/plain"},
        {"data": b"\xff\x00", "content_type": "; = ;"},
        {"headers": {"Content-Length": "many"}},
        {"headers": {"Content-Length": "-1"}},
        {"headers": {"Content-Length": "9" * 30}},
        {"headers": {"Transfer-Encoding": "chunked"}},
        {"headers": {"Transfer-Encoding": "gzip, secret"}},
        {
            "headers": {
                "Content-Encoding": "br",
                "Expect": "200-maybe",
                "Range": "bytes=9-1",
                "If-None-Match": "*",
                "Accept": "image/png",
            }
        },
    ],
)
def test_body_and_body_headers_are_ignored(shared_ann, sent):
    headers = {"Authorization": f"Bearer {shared_ann.access}", **sent.get("headers", {})}
    for question in QUESTIONS:
        assert (
            shared_ann.call(
                "POST", f"{question}/default", **{**sent, "headers": headers}
            ).status_code
            == 200
        )
        assert shared_ann.call("POST", f"{question}/default", **sent).status_code == 401


def test_identity_headers_from_the_caller_are_never_returned(shared_ann):
    for question in QUESTIONS:
        passed = shared_ann.get(f"{question}/default", token=shared_ann.access, headers=SPOOFED)
        refused = [
            shared_ann.get(f"{question}/{policy}", headers=SPOOFED)
            for policy in ("default", "unknown")
        ]
        assert read_identity(passed)["X-Auth-Subject"] == shared_ann.tokens["account"]["id"]
        assert (
            read_identity(passed)["X-Auth-Key"]
            == read_identity(passed)["X-Auth-Identity"]
            == read_identity(passed)["X-Auth-Roles"]
            == ""
        )
        assert not any(
            "acc_somebody" in str(answer.headers) + answer.text for answer in (passed, *refused)
        )
        assert_refused(refused[0], 401, "unauthenticated")
        assert_refused(refused[1], 503, "unknown_policy")


def test_exactly_one_credential_is_accepted(shared_ann):
    key = create_key(shared_ann)
    token = f"Bearer {shared_ann.access}"
    bad = [
        {},
        {"Authorization": ""},
        {"X-API-Key": ""},
        {"Authorization": token, "X-API-Key": key},
        {"Authorization": token, "X-API-Key": ""},
        {"Authorization": f"{token}, {token}"},
        {"Authorization": f"{token},{token}"},
        {"X-API-Key": f"{key},{key}"},
        {"X-API-Key": f"{key} "} | {"Authorization": "x"},
        {"X-API-Key": shared_ann.access},
        {"Authorization": shared_ann.access},
        {"Authorization": f"Basic {key}"},
        {"Authorization": f"Bearer {shared_ann.tokens['refresh_token']}"},
        {"Cookie": f"access_token={shared_ann.access}; session={shared_ann.access}"},
        {"X-Forwarded-Authorization": token},
        {"X-Original-Authorization": token, "Proxy-Authorization": token},
    ]
    for question in QUESTIONS:
        for headers in bad:
            assert_refused(
                shared_ann.get(f"{question}/default", headers=headers), 401, "unauthenticated"
            )


def test_rate_limit_is_429_with_retry_after(make_service):
    service = make_service(limit_key="2/minute")
    ann = service.actor("ann").sign_in()
    key = create_key(ann)
    assert [
        call_with_key(ann, f"{question}/default", key).status_code for question in QUESTIONS
    ] == [200, 200, 429]
    limited = call_with_key(ann, "/authz/auth-request/default", key)
    assert_refused(limited, 429, "rate_limited")
    assert {"RateLimit", "RateLimit-Policy"} <= set(limited.headers.keys())


def test_fault_is_503_and_never_401_or_403(sqlite_service):
    """Break the table that the check reads, and then the signing keys."""
    ann = sqlite_service.actor("ann").sign_in()
    with sqlite_service.open_database() as db:
        db.connection().exec_driver_sql("ALTER TABLE issuer_state RENAME TO hidden")
    for question in QUESTIONS:
        assert_refused(ann.get(f"{question}/default", token=ann.access), 503, "unavailable")
    with sqlite_service.open_database() as db:
        db.connection().exec_driver_sql("ALTER TABLE hidden RENAME TO issuer_state")
    assert ann.get("/authz/forward-auth/default", token=ann.access).status_code == 200


def test_fault_after_the_check_is_503(sqlite_service):
    """A username that no registration accepts and no header can contain."""
    ann = sqlite_service.actor("ann").sign_in()
    for name in ("ann\r\nX-Auth-Roles: admin", "\xe4nn", "日本"):
        with sqlite_service.open_database() as db:
            db.connection().exec_driver_sql("UPDATE accounts SET username = ?", (name,))
        for question in QUESTIONS:
            assert_refused(ann.get(f"{question}/default", token=ann.access), 503, "unavailable")


def test_log_names_the_route_and_nothing_of_the_original_request(shared_ann, lines):
    forwarded = {
        "X-Forwarded-Uri": "/reset/hunter2?token=hunter2",
        "X-Original-URL": "https://a.example/hunter2",
        "Referer": "hunter2",
    }
    shared_ann.call(
        "DELETE",
        "/authz/ext-authz/default/reset/hunter2?token=hunter2",
        token=shared_ann.access,
        headers=forwarded,
    )
    shared_ann.get("/authz/forward-auth/hunter2%0a?token=hunter2", headers=forwarded)
    output = lines.getvalue()
    assert [
        json.loads(line)["route"] for line in output.splitlines() if '"event": "request"' in line
    ] == ["/authz/ext-authz/<policy>", "/authz/auth-request/<policy>"]
    assert "hunter2" not in output
    assert shared_ann.access not in output


# Cost.


def test_warm_token_costs_one_round_trip_and_key_two_and_no_sql(
    make_service, database_url, redis_url
):
    service = make_service(
        database_url, redis_url=redis_url, limit_key="1000/minute", **RIGHTS
    ).freeze_clock()
    CacheWatcher().watch(service.units)
    ann = service.actor("ann").sign_in()
    grant_roles(ann, "clerk")
    key = create_key(ann, "orders:read")
    with redis.Redis.from_url(redis_url) as server:
        for path in ("/authz/forward-auth/orders", "/authz/ext-authz/signed/x"):
            assert (
                ann.get(path, token=ann.access).status_code
                == call_with_key(ann, path, key).status_code
                == 200
            )
            with count_work(service, server) as by_token:
                assert [ann.get(path, token=ann.access).status_code for _ in range(5)] == [200] * 5
            with count_work(service, server) as by_a_key:
                assert [call_with_key(ann, path, key).status_code for _ in range(5)] == [200] * 5
            assert by_token == {"sql": 0, "commands": {"cmdstat_mget": 5}}
            # GET and INCR run inside the script: the round trips are EVALSHA and MGET.
            assert by_a_key == {
                "sql": 0,
                "commands": {
                    "cmdstat_evalsha": 5,
                    "cmdstat_get": 5,
                    "cmdstat_incr": 5,
                    "cmdstat_mget": 5,
                },
            }


# On the wire.


@pytest.fixture
def live(make_live):
    return make_live(DOORWARD_POLICIES=json.dumps({"orders": {"scopes": ["orders:read"]}}))


def exchange(connection: socket.socket, raw: bytes) -> tuple[int, dict[str, str]]:
    """Send bytes on a persistent connection and read one response."""
    connection.sendall(raw)
    head = b""
    while b"\r\n\r\n" not in head:
        received = connection.recv(65536)
        assert received, head
        head += received
    head, _, body = head.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {
        name.lower(): value
        for name, value in (
            line.split(": ", 1) if ": " in line else (line.rstrip(":"), "") for line in lines
        )
    }
    while len(body) < int(headers["content-length"]) and not raw.startswith(b"HEAD"):
        body += connection.recv(65536)
    return int(first.split()[1]), headers


def test_only_five_answers_exist_and_bodies_cannot_smuggle_requests(live):
    handle = live.call(
        "POST",
        "/v1/register",
        {
            "username": "ann",
            "email": "ann@example.org",
            "name": "Ann",
            "password": "a long enough one 7",
        },
    )
    code = live.mailbox("ann@example.org")[0]["code"]
    assert (
        live.call(
            "POST",
            "/v1/register/confirm",
            {"registration": handle[1]["registration"], "code": code},
        )[0]
        == 200
    )
    token = live.call("POST", "/v1/login", {"username": "ann", "password": "a long enough one 7"})[
        1
    ]["access_token"]
    mine = f"Authorization: Bearer {token}\r\n"
    smuggled = f"GET /authz/auth-request/default HTTP/1.1\r\nHost: a\r\n{mine}\r\n"
    requests = [
        ("GET /authz/auth-request/default HTTP/1.1\r\nHost: evil.example\r\n" + mine, "", 200),
        (
            "HEAD /authz/forward-auth/default?x=%ff HTTP/1.1\r\nHost: a\r\nX-Auth-Subject: acc_x\r\n"
            + mine,
            "",
            200,
        ),
        ("PROPFIND /authz/ext-authz/default/a//b/..%2f%00 HTTP/1.1\r\nHost: a\r\n" + mine, "", 200),
        (
            "OPTIONS /authz/ext-authz/orders/ HTTP/1.1\r\nHost: a\r\nOrigin: https://x\r\nAccess-Control-Request-Method: GET\r\n",
            "",
            401,
        ),
        ("GET /authz/ext-authz/orders/ HTTP/1.1\r\nHost: a\r\n" + mine, "", 403),
        ("GET /authz/auth-request/unknown HTTP/1.1\r\nHost: a\r\n" + mine, "", 503),
        ("GET /authz/auth-request/default HTTP/1.1\r\nHost: a\r\n" + mine + mine, "", 401),
        (
            "GET /authz/auth-request/default HTTP/1.1\r\nHost: a\r\n" + mine + "X-API-Key: x\r\n",
            "",
            401,
        ),
        (
            "GET /authz/auth-request/default HTTP/1.1\r\nHost: a\r\nAuthorization: Basic eDp5\r\n"
            + mine,
            "",
            401,
        ),
    ]
    with socket.create_connection(("127.0.0.1", live.port), 20) as connection:
        for head, _, status in requests:
            answered, headers = exchange(connection, f"{head}\r\n".encode())
            assert answered == status, head
            assert "connection" not in headers or headers["connection"] != "close"
            assert {name.lower() for name in IDENTITY_HEADERS} <= set(headers), (
                "an empty header counts as a header"
            )
    for framing, body in (
        (f"Content-Length: {len(smuggled)}\r\n", smuggled),
        ("Content-Length: 500\r\n", ""),
        ("Transfer-Encoding: chunked\r\n", f"{len(smuggled):x}\r\n{smuggled}\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\n", "zz\r\n"),
        ("Content-Length: 5000000\r\n", ""),
    ):
        with socket.create_connection(("127.0.0.1", live.port), 20) as connection:
            answered, headers = exchange(
                connection,
                f"POST /authz/%61uth-request/default HTTP/1.1\r\nHost: a\r\n{mine}{framing}\r\n{body}".encode(),
            )
            assert (answered, headers["connection"]) == (200, "close"), framing
            connection.settimeout(20)
            with suppress(ConnectionResetError):  # a reset is as good as an end
                assert connection.recv(100) == b"", "the connection carries no second response"
