"""Answers that no honest service gives: each ends in an error of ours, in time, or in something sensible."""

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
    Check,
    ConnectionFailed,
    Doorward,
    DoorwardError,
    InvalidInput,
    LoginTimeout,
    RateLimited,
    Timeouts,
    UnexpectedAnswer,
)
from tests.client.stand_in import TOKENS, Says
from tests.client.typed import doorward

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


def saying(field, number, **document):
    """A document in which the field is a number that json.dumps would not write."""
    return Says(json.dumps({**document, field: "here"}).replace('"here"', number).encode())


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("field", ["expires_in", "refresh_expires_in"])
def test_no_number_of_a_login_is_too_much(stand_in, store, field, number):
    there = stand_in(
        saying(field, number, **TOKENS),
        routes={"/v1/whoami": [Says({"account_id": "acc_1", "username": "ann"})]},
    )
    client = Doorward(there.url)
    try:
        client.login.with_password("ann", "secret")
    except UnexpectedAnswer:
        assert field == "expires_in"
        return
    client.session.to_store()
    assert client.expires_at is not None


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("field", ["expires_in", "interval"])
def test_no_number_of_a_prompt_is_too_much(stand_in, field, number):
    prompt = Doorward(stand_in(saying(field, number, **ASKED)).url).login.request_on_another_device(
        client_name="x"
    )
    assert 0.2 <= prompt.interval <= 60
    assert 0 < prompt.seconds_left <= 3600


@pytest.mark.parametrize("field", ["verification_uri", "verification_uri_complete"])
def test_a_prompt_leads_nobody_to_a_script(stand_in, field):
    there = stand_in(Says({**ASKED, field: "javascript:alert(1)"}))
    with pytest.raises(UnexpectedAnswer, match="offered no login"):
        Doorward(there.url).login.request_on_another_device(client_name="x")


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("claim", ["exp", "iat"])
def test_no_claim_of_a_token_is_too_much(stand_in, claim, number):
    claims = saying(claim, number, iat=1, exp=2).content
    token = f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.e30"
    client = Doorward(stand_in(Says({})).url)
    client.login.with_token(token)
    assert client.token == token


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_moment_that_cannot_be_is_none(stand_in, moment):
    there = stand_in(
        Says({"code": "invalid_credentials"}, 401, {"Date": moment}),
        Says({}, 429, {"Date": moment, "Retry-After": moment}),
    )
    client = Doorward(there.url)
    with pytest.raises(DoorwardError):
        client.login.with_password("ann", "secret")
    with pytest.raises(RateLimited) as refused:
        client.login.with_password("ann", "secret")
    assert (client.clock_skew, refused.value.retry_after) == (None, None)


def test_a_path_leads_to_no_other_host(stand_in):
    there = stand_in(Says({}))
    client = Doorward(there.url)
    client.login.with_api_key("dwk_key")
    for path in ("@evil.example/", "1/", ".evil.example/", "", "http://evil.example/"):
        with pytest.raises(InvalidInput, match="begin with /"):
            client.call("GET", path)
    assert there.seen == []


@pytest.mark.parametrize(
    "path", ["/x\n", "/\ud800", f"/{'x' * 70_000}", "/../other", "/v1/things/./..", "/v1/.."]
)
def test_a_path_that_cannot_be_or_leaves_the_service_is_refused(stand_in, path):
    there = stand_in(Says({}))
    client = Doorward(f"{there.url}/auth")
    client.login.with_api_key("dwk_key")
    with pytest.raises(InvalidInput, match="path"):
        client.call("GET", path)
    assert there.seen == []
    with pytest.raises(InvalidInput, match="path"):
        client.roles("acc_1", resource="\ud800", id="1")
    client.revoke_session("\ud800")
    assert there.paths() == ["/auth/v1/sessions/%3F"]


@pytest.mark.parametrize(
    "decisions", [None, [], [True], [True, True, True], "yes", {"0": True, "1": True}]
)
def test_a_question_without_an_answer_is_no_yes(stand_in, decisions):
    client = Doorward(stand_in(Says({"decisions": decisions})).url)
    client.login.with_api_key("dwk_key")
    with pytest.raises(UnexpectedAnswer, match="each question"):
        client.check_roles([RoleCheck("acc_1", role="admin"), RoleCheck("acc_2", role="admin")])


@pytest.mark.parametrize(
    "answer",
    [Says({}), Says(b""), Says({"account_id": None, "kind": "session"}), Says({"items": []})],
)
def test_an_answer_that_says_nothing_is_no_yes(stand_in, answer):
    client = Doorward(stand_in(answer).url)
    client.login.with_api_key("dwk_key")
    for act in (client.validate, client.get_me, lambda: client.keys.create("robot")):
        with pytest.raises(UnexpectedAnswer, match="check the address"):
            act()


@pytest.mark.parametrize("refresh", ["two\nlines", "\ud800"])
def test_a_refresh_token_that_no_file_can_hold_is_none(stand_in, refresh):
    client = Doorward(stand_in(Says({**TOKENS, "refresh_token": refresh})).url)
    with pytest.raises(UnexpectedAnswer, match="no token"):
        client.login.with_password("ann", "secret")


@pytest.mark.parametrize(
    "moment", ["9999-12-31T23:59:59-23:59", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+23:59"]
)
def test_no_time_is_too_far_away_to_be_shown(stand_in, moment):
    there = stand_in(
        Says({"account_id": "acc_1", "username": "ann", "key_id": "key_1", "expires_at": moment})
    )
    for form in ("table", "json"):
        done = doorward("whoami", "--url", there.url, "-o", form, DOORWARD_TOKEN="dwk_x")
        assert (done.code, done.err) == (0, "")
    assert doorward("status", "--url", there.url, DOORWARD_TOKEN="dwk_x").code == 0


def test_a_version_gives_a_terminal_no_orders(stand_in):
    client = Doorward(
        stand_in(Says({"name": "door\x1b[2J", "version": f"1.0\x1b]0;title\x07{'x' * 1000}"})).url
    )
    found = client.version()
    assert "\x1b" not in found.name + found.version
    assert len(found.version) < 400


@contextmanager
def answering(say):
    """A server that says what the function writes to its connection, one at a time."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                try:
                    say(connection)
                except OSError:
                    return  # nobody listens any more

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def packed_nothing(connection):
    """A gzip that goes on and never holds a byte."""
    connection.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
    )
    connection.sendall(zlib.compressobj(wbits=31).flush(zlib.Z_FULL_FLUSH))
    for _ in range(100):
        connection.sendall(b"\x00\x00\x00\xff\xff")
        time.sleep(0.05)


def test_an_answer_that_goes_on_with_nothing_ends():
    with answering(packed_nothing) as url:
        began = time.monotonic()
        with pytest.raises(ConnectionFailed, match="did not finish"):
            Doorward(url, timeout=Timeouts(read=1, total=0.3)).login.with_password("ann", "secret")
        assert time.monotonic() - began < 4


def test_what_is_packed_is_not_unpacked(stand_in):
    there = stand_in(
        Says(zlib.compress(b"0" * 50_000_000, wbits=31), headers={"Content-Encoding": "gzip"})
    )
    with pytest.raises(UnexpectedAnswer, match="instead of JSON"):
        Doorward(there.url).version()
    assert there.headers_of("Accept-Encoding") == ["identity"]


def test_a_service_that_says_nothing_is_not_waited_for_longer_than_wanted():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Doorward(f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = time.monotonic()
        with pytest.raises(LoginTimeout, match="did not answer in time"):
            client.login.with_session_id("dwl_secret", wait=True, timeout=0.5)
        assert time.monotonic() - began < 15
