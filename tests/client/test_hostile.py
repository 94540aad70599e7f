"""Responses of a hostile service end in an error of the client, or a sensible value, in time."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
import zlib
from contextlib import contextmanager

import pytest

from doorward import (
    ConnectionFailed,
    Doorward,
    DoorwardError,
    InvalidInput,
    LoginTimeout,
    RateLimited,
    RoleCheck,
    Timeouts,
    UnexpectedAnswer,
)
from tests.client.fake_server import TOKENS, Reply
from tests.client.run_cli import run_doorward

NUMBERS = [
    "1e999",
    "1e300",
    "1" + "0" * 400,
    "NaN",
    "1000000000000",
    "true",
    "-1",
    '"300"',
    "null",
    "[]",
]
MOMENTS = [
    f"Wed, 21 Oct {'9' * 20} 07:28:00 GMT",
    f"Wed, 21 Oct 2026 07:28:00 +{'9' * 20}",
    "Wed, 32 Foo 2026",
    "-5",
    "1e9",
]
ASKED = {
    "device_code": "dwl_secret",
    "user_code": "BCDF-GHJK",
    "verification_uri": "https://auth.example.com/login/activate",
}


def build_reply_with_number(field, number, **document):
    """Return a reply whose field is a number that json.dumps would not write."""
    return Reply(json.dumps({**document, field: "here"}).replace('"here"', number).encode())


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("field", ["expires_in", "refresh_expires_in"])
def test_login_response_with_any_number_is_handled(fake_server, store, field, number):
    server = fake_server(
        build_reply_with_number(field, number, **TOKENS),
        routes={"/v1/whoami": [Reply({"account_id": "acc_1", "username": "ann"})]},
    )
    client = Doorward(server.url)
    try:
        client.login.with_password("ann", "secret")
    except UnexpectedAnswer:
        assert field == "expires_in"
        return
    client.session.to_store()
    assert client.expires_at is not None


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("field", ["expires_in", "interval"])
def test_prompt_with_any_number_is_handled(fake_server, field, number):
    prompt = Doorward(
        fake_server(build_reply_with_number(field, number, **ASKED)).url
    ).login.request_on_another_device(client_name="x")
    assert 0.2 <= prompt.interval <= 60
    assert 0 < prompt.seconds_left <= 3600


@pytest.mark.parametrize("field", ["verification_uri", "verification_uri_complete"])
def test_prompt_with_javascript_url_is_rejected(fake_server, field):
    server = fake_server(Reply({**ASKED, field: "javascript:alert(1)"}))
    with pytest.raises(UnexpectedAnswer, match="no valid device login"):
        Doorward(server.url).login.request_on_another_device(client_name="x")


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("claim", ["exp", "iat"])
def test_token_with_any_claim_is_handled(fake_server, claim, number):
    claims = build_reply_with_number(claim, number, iat=1, exp=2).content
    token = f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.e30"
    client = Doorward(fake_server(Reply({})).url)
    client.login.with_token(token)
    assert client.token == token


@pytest.mark.parametrize("moment", MOMENTS)
def test_invalid_date_headers_are_ignored(fake_server, moment):
    server = fake_server(
        Reply({"code": "invalid_credentials"}, 401, {"Date": moment}),
        Reply({}, 429, {"Date": moment, "Retry-After": moment}),
    )
    client = Doorward(server.url)
    with pytest.raises(DoorwardError):
        client.login.with_password("ann", "secret")
    with pytest.raises(RateLimited) as refused:
        client.login.with_password("ann", "secret")
    assert (client.clock_skew, refused.value.retry_after) == (None, None)


def test_path_cannot_lead_to_another_host(fake_server):
    server = fake_server(Reply({}))
    client = Doorward(server.url)
    client.login.with_api_key("dwk_key")
    for path in ("@evil.example/", "1/", ".evil.example/", "", "http://evil.example/"):
        with pytest.raises(InvalidInput, match="start with /"):
            client.call("GET", path)
    assert server.seen == []


@pytest.mark.parametrize(
    "path", ["/x\n", "/\ud800", f"/{'x' * 70_000}", "/../other", "/v1/things/./..", "/v1/.."]
)
def test_invalid_or_escaping_path_is_rejected(fake_server, path):
    server = fake_server(Reply({}))
    client = Doorward(f"{server.url}/auth")
    client.login.with_api_key("dwk_key")
    with pytest.raises(InvalidInput, match="path"):
        client.call("GET", path)
    assert server.seen == []
    with pytest.raises(InvalidInput, match="path"):
        client.list_roles("acc_1", resource="\ud800", id="1")
    client.revoke_session("\ud800")
    assert server.paths() == ["/auth/v1/sessions/%3F"]


@pytest.mark.parametrize(
    "decisions", [None, [], [True], [True, True, True], "yes", {"0": True, "1": True}]
)
def test_incomplete_role_check_raises(fake_server, decisions):
    client = Doorward(fake_server(Reply({"decisions": decisions})).url)
    client.login.with_api_key("dwk_key")
    with pytest.raises(UnexpectedAnswer, match="every check"):
        client.check_roles([RoleCheck("acc_1", role="admin"), RoleCheck("acc_2", role="admin")])


@pytest.mark.parametrize(
    "answer",
    [Reply({}), Reply(b""), Reply({"account_id": None, "kind": "session"}), Reply({"items": []})],
)
def test_empty_response_raises(fake_server, answer):
    client = Doorward(fake_server(answer).url)
    client.login.with_api_key("dwk_key")
    for act in (client.validate, client.get_me, lambda: client.keys.create("robot")):
        with pytest.raises(UnexpectedAnswer, match="Check the URL"):
            act()


@pytest.mark.parametrize("refresh", ["two\nlines", "\ud800"])
def test_invalid_refresh_token_is_rejected(fake_server, refresh):
    client = Doorward(fake_server(Reply({**TOKENS, "refresh_token": refresh})).url)
    with pytest.raises(UnexpectedAnswer, match="no token"):
        client.login.with_password("ann", "secret")


@pytest.mark.parametrize(
    "moment", ["9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59"]
)
def test_extreme_times_are_shown(fake_server, moment):
    server = fake_server(
        Reply({"account_id": "acc_1", "username": "ann", "key_id": "key_1", "expires_at": moment})
    )
    for form in ("table", "json"):
        result = run_doorward("whoami", "--url", server.url, "-o", form, DOORWARD_TOKEN="dwk_x")
        assert (result.code, result.err) == (0, "")
    assert run_doorward("status", "--url", server.url, DOORWARD_TOKEN="dwk_x").code == 0


def test_version_has_no_control_characters(fake_server):
    client = Doorward(
        fake_server(
            Reply({"name": "door\x1b[2J", "version": f"1.0\x1b]0;title\x07{'x' * 1000}"})
        ).url
    )
    found = client.get_version()
    assert "\x1b" not in found.name + found.version
    assert len(found.version) < 400


@contextmanager
def serve_raw(say):
    """Serve one connection with what the function writes to it."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                try:
                    say(connection)
                except OSError:
                    return  # the client has closed the connection

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def send_endless_gzip(connection):
    """Send an endless gzip stream that decompresses to nothing."""
    connection.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(zlib.compressobj(wbits=31).flush(zlib.Z_FULL_FLUSH))
    for _ in range(100):
        connection.sendall(b"\x00\x00\x00\xff\xff")
        time.sleep(0.05)


def test_endless_compressed_response_ends():
    with serve_raw(send_endless_gzip) as url:
        began = time.monotonic()
        with pytest.raises(ConnectionFailed, match="took longer"):
            Doorward(url, timeout=Timeouts(read=1, total=0.3)).login.with_password("ann", "secret")
        assert time.monotonic() - began < 4


def test_compressed_response_is_not_decompressed(fake_server):
    server = fake_server(
        Reply(zlib.compress(b"0" * 50_000_000, wbits=31), headers={"Content-Encoding": "gzip"})
    )
    with pytest.raises(UnexpectedAnswer, match="instead of a JSON object"):
        Doorward(server.url).get_version()
    assert server.list_headers("Accept-Encoding") == ["identity"]


def test_silent_service_does_not_exceed_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Doorward(f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(LoginTimeout, match="did not respond in time"):
            client.login.with_session_id("dwl_secret", wait=True, timeout=0.5)
        assert time.monotonic() - began < 15
