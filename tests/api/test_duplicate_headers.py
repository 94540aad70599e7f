"""Repeated and ambiguous headers are never trusted."""

from __future__ import annotations

import json
import socket

import pytest

from tests.actors import PASSWORD

HOST = "Host: 127.0.0.1"
CLOSE = "Connection: close"


@pytest.fixture
def live(make_live):
    """Start a server that trusts the test as its gateway."""
    return make_live(DOORWARD_TRUSTED_PROXIES="127.0.0.1/32")


def send_lines(live, line: str, *headers: str, body: str = "") -> tuple[int, dict]:
    """Send exactly these lines and return the response."""
    with socket.create_connection(("127.0.0.1", live.port), 20) as connection:
        connection.sendall("\r\n".join([line, *headers, CLOSE, "", body]).encode())
        raw = b""
        while chunk := connection.recv(65536):
            raw += chunk
    head, _, text = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(text) if text else {}


def sign_up(live, name: str) -> None:
    email = f"{name}@example.org"
    handle = live.call(
        "POST",
        "/v1/register",
        {"username": name, "email": email, "name": name.title(), "password": PASSWORD},
    )[1]["registration"]
    assert (
        live.call(
            "POST",
            "/v1/register/confirm",
            {"registration": handle, "code": live.mailbox(email)[0]["code"]},
        )[0]
        == 200
    )


def log_in(live, name: str, *headers: str) -> tuple[int, dict]:
    body = json.dumps({"username": name, "password": PASSWORD})
    return send_lines(
        live,
        "POST /v1/login HTTP/1.1",
        HOST,
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
        body=body,
    )


def get_session_address(live, tokens: dict) -> str:
    """Return the IP address of the session as its owner sees it."""
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return live.call("GET", f"/v1/sessions/{tokens['session_id']}", headers=headers)[1]["address"]


def test_duplicate_headers_are_refused(live):
    for name in ("ann", "bob"):
        sign_up(live, name)
    ann, bob = log_in(live, "ann")[1], log_in(live, "bob")[1]
    mine, other = (f"Authorization: Bearer {tokens['access_token']}" for tokens in (ann, bob))
    me = "GET /v1/whoami HTTP/1.1"
    assert send_lines(live, me, HOST, mine)[1]["username"] == "ann"

    # Two credentials are refused, in any order, even if they are equal.
    for double in (
        (mine, other),
        (other, mine),
        (mine, mine),
        (mine, "Authorization: Basic eDp5"),
        (f"{mine}, {other}",),
    ):
        assert send_lines(live, me, HOST, *double)[0] in {400, 401}, double
    # Names with an underscore are ignored: CGI would read them as names with a dash.
    assert (
        send_lines(live, me, HOST, mine, other.replace("Authorization", "Authorization_"))[1][
            "username"
        ]
        == "ann"
    )
    assert send_lines(live, "POST /v1/logout HTTP/1.1", HOST, "Content_Length: 5", mine)[0] == 204
    assert send_lines(live, me, HOST, mine)[0] == 401
    ann = log_in(live, "ann")[1]
    mine = f"Authorization: Bearer {ann['access_token']}"

    # Two hosts, or another host in the request line.
    assert send_lines(live, me, HOST, "Host: evil.example", mine)[0] == 400
    assert send_lines(live, me, "Host: evil.example", HOST, mine)[0] == 400
    assert send_lines(live, "GET http://evil.example/v1/whoami HTTP/1.1", HOST, mine)[0] in {
        200,
        400,
    }
    assert (
        send_lines(live, "GET http://127.0.0.1/v1/whoami HTTP/1.1", "Host: evil.example", mine)[0]
        == 400
    )

    # Of forwarded IP addresses the last one counts, however many lines there are.
    for headers, address in (
        (("X-Forwarded-For: 198.51.100.1",), "198.51.100.1"),
        (("X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 198.51.100.2"), "198.51.100.2"),
        (("X-Forwarded-For: 198.51.100.3", "X_Forwarded_For: 6.6.6.6"), "198.51.100.3"),
        (("X_Forwarded_For: 6.6.6.6",), "127.0.0.1"),
        (("X-Forwarded-For : 6.6.6.6",), None),
        (("X-Forwarded-For: 6.6.6.6,",), "127.0.0.1"),
        (("x-forwarded-for: 198.51.100.4",), "198.51.100.4"),
    ):
        status, tokens = log_in(live, "ann", *headers)
        assert (get_session_address(live, tokens) if status == 200 else None) == address, headers

    # Two content types, and two equal lengths.
    assert log_in(live, "ann", "Content-Type: text/plain")[0] in {400, 415}
    assert log_in(live, "ann", "Content-Length: 49")[0] == 400
