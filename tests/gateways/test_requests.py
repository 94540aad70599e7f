"""Every kind of request is checked and reaches the application unchanged."""

from __future__ import annotations

import json
import secrets
import socket
import time

import pytest

from tests.gateways.gateways import APPLICATION, DOORWARD
from tests.gateways.headers import build_bearer, read_identity


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_method_is_checked_and_forwarded(site, method):
    assert site.call(method, "/thing", []).status == 401
    assert not site.received
    assert site.call(method, "/thing", build_bearer(site.ann.sign_in())).status == 200
    assert [received.method for received in site.received] == [method]


def test_a_preflight_is_checked_too(site):
    preflight = [("Origin", "https://shop.example.org"), ("Access-Control-Request-Method", "PUT")]
    assert site.call("OPTIONS", "/thing", preflight).status == 401
    assert not site.received


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "BREW", "get"])
def test_unusual_method_is_never_forwarded_unchecked(site, method):
    assert site.call(method, "/thing").status >= 400
    assert not site.received


@pytest.mark.parametrize("how", ["whole", "in chunks"])
def test_body_goes_to_the_upstream_and_not_to_doorward(site, how):
    body = secrets.token_hex(100_000).encode()
    mark = ("X-Request-Id", f"mark-{site.tag}")
    headers = [*build_bearer(site.ann.sign_in()), mark]
    if how == "whole":
        answer = site.call("POST", "/things", headers, body=body)
    else:
        pieces = (
            b"".join(
                b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:70_000], body[70_000:])
            )
            + b"0\r\n\r\n"
        )
        answer = site.call(
            "POST", "/things", [*headers, ("Transfer-Encoding", "chunked")], body=pieces
        )
    assert answer.status == 200
    assert site.received[0].body == body
    traffic = site.wire.find_traffic(site.ann.access)
    assert traffic
    assert not [
        received for received in traffic if body[:20] in received or b"chunked" in received.lower()
    ]


def test_body_of_a_refused_request_is_not_forwarded(site):
    assert site.call("POST", "/things", [], body=b"x" * 10_000).status == 401
    assert not site.received


def test_check_carries_no_cookies_query_or_host_of_the_request(site):
    secret = secrets.token_hex(16)
    headers = [
        *build_bearer(site.ann.login()),
        ("Cookie", f"session={secret}"),
        ("Referer", f"http://x/{secret}"),
    ]
    assert site.call("GET", f"/orders?policy=admin&secret={secret}", headers).status == 200
    assert site.received[0].path == f"/orders?policy=admin&secret={secret}"
    assert site.received[0].get_values("Cookie") == [f"session={secret}"]
    [traffic] = site.wire.find_traffic(site.ann.access)
    mine = next(part for part in traffic.split(b"GET /authz/") if site.ann.access.encode() in part)
    line = mine.partition(b"\r\n")[0]
    assert line in {
        b"auth-request/default HTTP/1.1",
        b"forward-auth/default HTTP/1.1",
        b"ext-authz/default HTTP/1.1",
    }
    # Caddy and Traefik send the requested URL, which Doorward ignores.
    lines = [text for text in mine.split(b"\r\n") if secret.encode() in text]
    assert all(text.lower().startswith(b"x-forwarded-uri:") for text in lines)


@pytest.mark.parametrize(
    "query",
    [
        "policy=admin",
        "scopes=",
        "X-Auth-Subject=acc_mallory",
        "?",
        "/../../livez",
        "%0d%0aX-Auth-Subject:%20x",
        "a=b#c",
    ],
)
def test_query_cannot_bypass_the_check(site, query):
    assert site.call("GET", f"/orders?{query}").status in {400, 401}
    assert site.call("GET", f"/admin/?{query}", build_bearer(site.ann.sign_in())).status in {
        400,
        403,
    }
    assert not site.received


# Paths that an application could normalize to /admin/.
HIDDEN = [
    "/x/../admin/", "/x/..%2fadmin/", "/x/%2e%2e/admin/", "/x%2f../admin/", "//admin/", "///admin/", "/./admin/", "/%2e/admin/", "/%61dmin/",
    "/admin%2f", "/admin%2Fstock", "/x/..;/admin/", "/x\\..\\admin/", "/%5cadmin/", "/x%00/../admin/", "/x/.%2e/admin/", "/%2f/admin/",
    "/x/..%5cadmin/", "/%252e%252e/admin/", "http://app.example.org/admin/", "http://app.example.org//admin/",
]  # fmt: skip


@pytest.mark.parametrize("path", HIDDEN)
def test_no_path_variant_bypasses_its_policy(site, path):
    """An ambiguous path is refused, or reaches the application in a form that is not ambiguous."""
    answer = site.call("GET", path, build_bearer(site.ann.sign_in()))
    if answer.status == 200:
        [received] = site.received
        assert received.path.startswith("/%252e%252e/"), received.path
    else:
        assert answer.status in {400, 403, 404, 421}
        assert not site.received


@pytest.mark.parametrize(
    "path",
    [
        "/_doorward/default",
        "/_doorward/admin",
        "/authz/auth-request/default",
        "/no-answer",
        "/x/../_doorward/default",
    ],
)
def test_gateway_exposes_nothing_of_its_own(site, path):
    answer = site.call("GET", path)
    assert answer.status in {400, 401, 404}
    assert not site.received


def test_unknown_host_is_refused(site):
    for host in (
        "evil.example.org",
        "app.example.org.evil.example.org",
        "127.0.0.1",
        "application",
        "doorward",
    ):
        answer = site.call("GET", "/v1/methods", build_bearer(site.ann.sign_in()), host=host)
        assert answer.status in {404, 421}, host
    assert not site.received


def test_request_smuggling_is_refused(site):
    """Servers disagree about two lengths, or a length with chunks."""
    tail = f"GET /smuggled HTTP/1.1\r\nHost: {APPLICATION}\r\nTag: {site.tag}\r\n\r\n"
    token = site.ann.sign_in()
    for double in (
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        f"Content-Length: {len(tail)}\r\nContent-Length: 0",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    ):
        head = f"POST /first HTTP/1.1\r\nHost: {APPLICATION}\r\nTag: {site.tag}\r\nAuthorization: Bearer {token}\r\n{double}\r\n\r\n"
        site.gateway.send_raw(
            (head + "0\r\n\r\n" + tail if "chunked" in double else head + tail).encode(),
            b"\r\n\r\n",
        )
    assert not [received for received in site.received if received.path == "/smuggled"]


def test_large_headers_are_refused_or_forwarded_whole(site):
    token = site.ann.sign_in()
    for size in (4_000, 7_500, 12_000, 60_000):
        large = [("Cookie", "c" * size), ("X-Large", "x" * min(size, 30_000))]
        site.call("GET", "/", large)
        assert not site.received
    answer = site.call("GET", "/", [*build_bearer(token), ("Cookie", "c" * 7_500)])
    assert answer.status == 200
    assert len(site.received[0].get_values("Cookie")[0]) == 7_500


def test_many_headers_never_bypass_the_check(site):
    many = [(f"X-Many-{number}", "1") for number in range(150)]
    site.call("GET", "/", many)
    assert not site.received


def test_long_url_is_forwarded_or_refused(site):
    answer = site.call("GET", "/" + "a" * 6_000, build_bearer(site.ann.sign_in()))
    assert (answer.status, len(site.received)) in {(200, 1), (414, 0)}


def test_websockets_are_checked_and_then_forwarded(site):
    head = f"GET /socket HTTP/1.1\r\nHost: {APPLICATION}\r\nTag: {site.tag}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    assert (
        b" 401 "
        in site.gateway.send_raw(f"{head}\r\n".encode(), b"\r\n\r\n").partition(b"\r\n")[0] + b" "
    )
    assert not site.received
    received = site.gateway.send_raw(
        f"{head}Authorization: Bearer {site.ann.sign_in()}\r\n\r\n".encode(),
        b"\r\n\r\n",
        then=b"hello there",
    )
    assert received.startswith(b"HTTP/1.1 101 ")
    assert received.endswith(b"hello there")
    assert read_identity(site.received[0])["X-Auth-Subject"] == site.ann.account_id


# The host name of Doorward.


def test_doorward_is_reachable_under_its_own_host(site):
    body = json.dumps({"username": f"nobody-{site.tag}", "password": "wrong wrong wrong"}).encode()
    answer = site.call(
        "POST", "/v1/login", [("Content-Type", "application/json")], host=DOORWARD, body=body
    )
    assert answer.status == 401
    assert b"invalid_credentials" in answer.body
    assert site.call("GET", "/.well-known/jwks.json", host=DOORWARD).status == 200


def test_chunked_body_reaches_doorward(site):
    body = json.dumps({"username": f"nobody-{site.tag}", "password": "wrong wrong wrong"}).encode()
    chunks = b"%x\r\n%b\r\n%x\r\n%b\r\n0\r\n\r\n" % (20, body[:20], len(body) - 20, body[20:])
    headers = [("Content-Type", "application/json"), ("Transfer-Encoding", "chunked")]
    answer = site.call("POST", "/v1/login", headers, host=DOORWARD, body=chunks)
    assert (answer.status, b"invalid_credentials" in answer.body) == (401, True)


def test_incomplete_body_is_not_sent_to_doorward(site):
    head = f"POST /v1/login HTTP/1.1\r\nHost: {DOORWARD}\r\nTag: {site.tag}\r\nContent-Type: application/json\r\nContent-Length: 40\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", site.gateway.ports.web), 10) as connection:
        connection.sendall(f"{head}{{".encode())
        time.sleep(0.3)
        assert not site.wire.find_traffic(site.tag)
        connection.sendall(b" " * 38 + b"}")
        assert b" 422 " in connection.recv(4096)
    assert site.wire.find_traffic(site.tag)


def test_oversized_body_does_not_reach_doorward(site):
    answer = site.call(
        "POST",
        "/v1/login",
        [("Content-Type", "application/json")],
        host=DOORWARD,
        body=b" " * 20_000,
    )
    assert answer.status == 413


@pytest.mark.parametrize(
    "path",
    [
        "/authz/auth-request/default",
        "/authz/ext-authz/default",
        "/authz/forward-auth/default",
        "/livez",
        "/readyz",
        "/dev/mailbox",
        "/authz",
    ],
)
def test_gateway_routes_are_not_public(site, path):
    assert site.call("GET", path, build_bearer(site.ann.sign_in()), host=DOORWARD).status == 404


def test_doorward_sees_the_real_client_ip_address(site):
    agent = f"tests-{site.tag}"
    spoofed_headers = [
        ("X-Forwarded-For", "203.0.113.9"),
        ("X-Forwarded-For", "198.51.100.7"),
        ("X_Forwarded_For", "203.0.113.9"),
    ]
    headers = [("Content-Type", "application/json"), ("User-Agent", agent), *spoofed_headers]
    site.call(
        "POST",
        "/v1/login",
        headers,
        host=DOORWARD,
        body=b'{"username": "ann", "password": "correct horse battery staple"}',
    )
    sessions = site.live.call(
        "GET", "/v1/sessions", headers={"Authorization": f"Bearer {site.ann.sign_in()}"}
    )[1]["items"]
    [mine] = [session for session in sessions if agent in str(session)]
    assert "203.0.113.9" not in str(mine)
    assert "198.51.100.7" not in str(mine)


@pytest.mark.parametrize("kind", ["confirm", "reset", "login/activate"])
def test_emailed_link_is_in_no_log(site, kind):
    token = f"dwp_{secrets.token_hex(30)}"
    site.call("GET", f"/{kind}/{token}?from=mail", host=DOORWARD)
    site.call(
        "POST",
        f"/{kind}/{token}",
        [("Referer", f"http://{DOORWARD}/{kind}/{token}")],
        host=DOORWARD,
        body=b"",
    )
    site.call("GET", f"/{kind}/{token}", build_bearer(site.ann.sign_in()))
    output = read_full_log(site)
    if site.gateway.name != "traefik":  # whose log has no paths
        assert f"/{kind}/" in output
    assert token not in output


def test_credentials_are_in_no_log(site):
    key = site.ann.make_key()["key"]
    site.call("GET", "/", build_bearer(site.ann.access))
    site.call("GET", "/", [("X-API-Key", key), ("Cookie", f"session={key}")])
    site.call("GET", f"/?api_key={key}")
    output = read_full_log(site)
    assert key not in output
    assert site.ann.access not in output


def read_full_log(site) -> str:
    """Send one more request and return the output, which then contains the earlier requests."""
    before = len(site.gateway.log.read_text())
    method = "DELETE" if site.gateway.name == "traefik" else "GET"
    mark = method if site.gateway.name == "traefik" else f"/end-{secrets.token_hex(8)}"
    site.call(method, mark if mark.startswith("/") else "/", host=DOORWARD)
    end = time.monotonic() + 5
    while mark not in (output := site.gateway.log.read_text())[before:]:
        assert time.monotonic() < end
        time.sleep(0.02)
    return output
