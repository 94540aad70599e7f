"""No error, repr, log or traceback shows a secret."""

from __future__ import annotations

import contextlib
import copy
import logging
import pickle
import re
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from doorward import (
    AuthSession,
    Doorward,
    DoorwardError,
    InstanceAuthSessions,
    InvalidInput,
    PasswordChangeRequired,
    RequestsAuth,
    Secret,
    StoreError,
)
from doorward.auth.httpx2_auth import DoorwardAuth
from tests.client.error_text import render_error
from tests.client.fake_server import BAD_GATEWAY, HANG_UP, HTML, Reply

PLANTED = "planted"
PASSWORD, ACCESS, REFRESH, KEY, CODE = (
    f"{PLANTED}-{name}-0123456789" for name in ("password", "access", "refresh", "key", "code")
)
TOKENS = {
    "access_token": ACCESS,
    "token_type": "Bearer",
    "expires_in": 300,
    "refresh_token": REFRESH,
    "session_id": "ses_1",
    "scope": "",
}


def build_echo(status: int, **more):
    """Return an answer that repeats each secret it was sent, wherever it can."""

    def answer(request: str) -> Reply:
        sent = "/".join(re.findall(rf"{PLANTED}[a-z0-9-]+", request))
        document = {
            "detail": f"You sent {sent}",
            "title": sent,
            "code": sent,
            "errors": {f"/{sent}": [sent]},
            "reasons": [sent],
            **more,
        }
        return Reply(
            document,
            status,
            {
                "X-Request-Id": sent.replace("/", "-"),
                "Location": f"https://evil.example/{sent}?{sent}",
            },
        )

    return answer


FAULTS = {
    "hangs up": HANG_UP,
    "a page": HTML,
    "a bad gateway": BAD_GATEWAY,
    "a limit": Reply({"code": "x"}, 429),
    **{str(status): build_echo(status) for status in (302, 400, 401, 403, 404, 409, 422, 503)},
    **{
        code: build_echo(status, code=code)
        for code, status in [
            ("invalid_credentials", 401),
            ("validation_failed", 422),
            ("wrong_password", 403),
        ]
    },
    **{
        code: build_echo(400, code=None, error=code)
        for code in ("invalid_grant", "slow_down", "access_denied")
    },
    "another password first": Reply(
        {"code": "password_change_required", "reset_token": f"{PLANTED}-reset"}, 403
    ),
    "no token": Reply({"access_token": 1, "refresh_token": REFRESH}),
    "a bad life": Reply({**TOKENS, "expires_in": -1}),
    "a bad prompt": Reply(
        {
            "device_code": CODE,
            "user_code": "BCDF-GHJK",
            "verification_uri": "javascript:alert(1)",
            "access_token": ACCESS,
        }
    ),
}


def run_failing_logins(client: Doorward, tmp_path) -> list[BaseException]:
    """Call each login that sends a secret, and return the errors."""
    login = client.login
    acts = [
        lambda: login.with_password("ann", PASSWORD),
        lambda: login.with_password("ann", lambda: PASSWORD),
        lambda: login.with_session_id(CODE),
        lambda: login.with_session_id(f"{CODE}\ud800"),
        lambda: login.with_session_id(CODE, wait=True, timeout=0.01),
        lambda: login.on_another_device(on_prompt=lambda _: None, timeout=0.01),
        lambda: login.with_api_key(f"{KEY} \n"),
        lambda: login.with_token(ACCESS).validate(),
        lambda: login.with_token(f"{ACCESS}é"),
    ]
    raised = []
    for act in acts:
        try:
            act()
        except DoorwardError as error:
            raised.append(error)
    return raised


@pytest.mark.parametrize("fault", FAULTS)
def test_errors_show_no_secret(fake_server, tmp_path, caplog, fault):
    caplog.set_level(logging.DEBUG)
    server = fake_server(FAULTS[fault])
    client = Doorward(server.url)
    raised = run_failing_logins(client, tmp_path)
    server.answers = [Reply(TOKENS)]
    session = client.login.with_password("ann", PASSWORD)
    server.answers = [FAULTS[fault]]
    for act in (
        session.refresh,
        session.logout,
        lambda: client.change_password(PASSWORD, f"{PASSWORD}-new"),
        lambda: client.elevate(PASSWORD),
        lambda: client.keys.create("robot"),
    ):
        with contextlib.suppress(DoorwardError):
            try:
                act()
            except DoorwardError as error:
                raised.append(error)
                raise
    assert len(raised) > 3
    for error in raised:
        assert PLANTED not in render_error(error), render_error(error)
    # httpx2 logs response headers, in which this server repeats the secrets.
    assert PLANTED not in str(
        [
            one.getMessage()
            for one in caplog.records
            if "receive_response_headers" not in one.getMessage()
        ]
    )


@pytest.mark.parametrize(
    ("act", "field"),
    [
        (
            lambda login: login.with_password("ann", PASSWORD, device_name=Path("attic")),
            "device_name",
        ),
        (lambda login: login.with_password("ann", PASSWORD.encode()), "password"),
        (lambda login: login.with_password("ann", None), "password"),
        (lambda login: login.with_token(), "token"),
        (lambda login: login.with_session_id(CODE, client_id="\ud800"), "client_id"),
        (lambda login: login.with_api_key(KEY.encode()), "key"),
        (lambda login: login.with_api_key(None), "key"),
        (lambda login: login.with_session_id(None), "device_code"),
    ],
)
def test_unencodable_argument_is_named_without_its_value(fake_server, act, field):
    server = fake_server(Reply(TOKENS))
    with pytest.raises(InvalidInput, match=field) as refused:
        act(Doorward(server.url).login)
    assert list(refused.value.errors) == [field]
    assert PLANTED not in render_error(refused.value), render_error(refused.value)
    assert server.seen == []


def test_reprs_show_no_secret(fake_server, tmp_path):
    server = fake_server(
        Reply(
            {
                **TOKENS,
                "key": KEY,
                "device_code": CODE,
                "user_code": "BCDF-GHJK",
                "verification_uri": "https://example.com",
            }
        )
    )
    client = Doorward(server.url)
    session = client.login.with_password("ann", PASSWORD, keep=True)
    kept = AuthSession(Secret(ACCESS), datetime.now(UTC) + timedelta(1), Secret(REFRESH))
    sessions = InstanceAuthSessions.load()
    sessions.insert(server.url, "ann", kept)
    things = [
        *(
            client,
            client.login,
            session,
            session._credential.current,
            kept,
            sessions,
            sessions.instances,
            client.keys.create("x"),
        ),
        *(
            client.login.request_on_another_device(client_name="x"),
            DoorwardAuth(client, origins=["https://a.example"]),
        ),
        *(
            RequestsAuth(client, origins=["https://a.example"]),
            Secret(ACCESS),
            {"token": Secret(ACCESS)},
            client.transport,
        ),
    ]
    for thing in things:
        assert PLANTED not in f"{thing!r} {thing!s} {thing}", type(thing)
    assert f"{Secret(ACCESS):>10}" == "       ***"
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(kept)
    with pytest.raises(TypeError, match="cannot be pickled"):
        copy.deepcopy(Secret(ACCESS))
    for thing in (client, session, DoorwardAuth(client, origins=["https://a.example"])):
        with pytest.raises(TypeError, match=r"cannot be pickled.+from_store"):
            pickle.dumps(thing)
    assert Secret(ACCESS) == Secret(ACCESS) != Secret(KEY)
    assert len({Secret(ACCESS), Secret(ACCESS)}) == 1


def test_reset_token_is_available_but_not_shown(fake_server):
    server = fake_server(
        Reply({"code": "password_change_required", "reset_token": f"{PLANTED}-reset"}, 403)
    )
    with pytest.raises(PasswordChangeRequired) as refused:
        Doorward(server.url).login.with_password("ann", PASSWORD)
    assert refused.value.reset_token.reveal() == f"{PLANTED}-reset"
    assert PLANTED not in render_error(refused.value)
    again = pickle.loads(pickle.dumps(refused.value))
    assert (str(again), again.reset_token, again.status) == (str(refused.value), None, 403)


def test_store_errors_show_no_secret(store, tmp_path):
    store.parent.mkdir(mode=0o700)
    store.write_text(f'{{"{PLANTED}": ')
    store.chmod(0o600)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        InstanceAuthSessions.load()
    assert PLANTED not in str([one.message for one in caught])
    sessions = InstanceAuthSessions.load()
    sessions.insert("https://auth.example.com", "ann", ACCESS, datetime.now(UTC) + timedelta(1))
    store.with_name("sessions.json.lock").unlink()
    store.with_name("sessions.json.lock").mkdir()
    with pytest.raises(StoreError) as refused:
        sessions.save()
    assert PLANTED not in render_error(refused.value)
    (tmp_path / "token").write_text(f"ftp://example.com\n{ACCESS}\n")
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(DoorwardError) as refused:
        Doorward().login.from_token_file(tmp_path / "token")
    assert ACCESS not in render_error(refused.value)
