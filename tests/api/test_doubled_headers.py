"""Headers that come twice, or under a name that another server would read as theirs: nothing is believed that is ambiguous."""

from __future__ import annotations

import json
import socket

import pytest

from tests.actors import PASSWORD

HOST = "Host: 127.0.0.1"
CLOSE = "Connection: close"


@pytest.fixture
def live(make_live):
    """Behind a gateway, as which the test speaks."""
    return make_live(DOORWARD_TRUSTED_PROXIES="127.0.0.1/32")


def said(live, line: str, *headers: str, body: str = "") -> tuple[int, dict]:
    """What is answered to exactly these lines."""
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


def login(live, name: str, *headers: str) -> tuple[int, dict]:
    body = json.dumps({"username": name, "password": PASSWORD})
    return said(
        live,
        "POST /v1/login HTTP/1.1",
        HOST,
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
        body=body,
    )


def address_of(live, tokens: dict) -> str:
    """From where the session was opened, as its owner sees it."""
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return live.call("GET", f"/v1/sessions/{tokens['session_id']}", headers=headers)[1]["address"]


def test_duplicate_headers_are_refused(live):
    for name in ("ann", "bob"):
        sign_up(live, name)
    ann, bob = login(live, "ann")[1], login(live, "bob")[1]
    mine, other = (f"Authorization: Bearer {tokens['access_token']}" for tokens in (ann, bob))
    me = "GET /v1/whoami HTTP/1.1"
    assert said(live, me, HOST, mine)[1]["username"] == "ann"

    # Two credentials are none, in whatever order, even if both are the same.
    for double in (
        (mine, other),
        (other, mine),
        (mine, mine),
        (mine, "Authorization: Basic eDp5"),
        (f"{mine}, {other}",),
    ):
        assert said(live, me, HOST, *double)[0] in {400, 401}, double
    # A name with an underscore is none of ours: CGI would read it as the one with a dash.
    assert (
        said(live, me, HOST, mine, other.replace("Authorization", "Authorization_"))[1]["username"]
        == "ann"
    )
    assert said(live, "POST /v1/logout HTTP/1.1", HOST, "Content_Length: 5", mine)[0] == 204
    assert said(live, me, HOST, mine)[0] == 401
    ann = login(live, "ann")[1]
    mine = f"Authorization: Bearer {ann['access_token']}"

    # Two hosts, or another one in the line.
    assert said(live, me, HOST, "Host: evil.example", mine)[0] == 400
    assert said(live, me, "Host: evil.example", HOST, mine)[0] == 400
    assert said(live, "GET http://evil.example/v1/whoami HTTP/1.1", HOST, mine)[0] in {200, 400}
    assert (
        said(live, "GET http://127.0.0.1/v1/whoami HTTP/1.1", "Host: evil.example", mine)[0] == 400
    )

    # Forwarded addresses: the last one counts, however many lines they come in, and under no other name.
    for headers, address in (
        (("X-Forwarded-For: 198.51.100.1",), "198.51.100.1"),
        (("X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 198.51.100.2"), "198.51.100.2"),
        (("X-Forwarded-For: 198.51.100.3", "X_Forwarded_For: 6.6.6.6"), "198.51.100.3"),
        (("X_Forwarded_For: 6.6.6.6",), "127.0.0.1"),
        (("X-Forwarded-For : 6.6.6.6",), None),
        (("X-Forwarded-For: 6.6.6.6,",), "127.0.0.1"),
        (("x-forwarded-for: 198.51.100.4",), "198.51.100.4"),
    ):
        status, tokens = login(live, "ann", *headers)
        assert (address_of(live, tokens) if status == 200 else None) == address, headers

    # Two types of one body, two lengths that are the same.
    assert login(live, "ann", "Content-Type: text/plain")[0] in {400, 415}
    assert login(live, "ann", "Content-Length: 49")[0] == 400
