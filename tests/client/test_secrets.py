"""Secrets are planted, everything goes wrong that can, and then they are looked for."""

from __future__ import annotations

import contextlib
import copy
import logging
import pickle
import re
import traceback
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
from tests.client.stand_in import BAD_GATEWAY, HANGS_UP, HTML, Says

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


def echo(status: int, **more):
    """Gives back each secret that it was sent, wherever it can."""

    def answer(request: str) -> Says:
        sent = "/".join(re.findall(rf"{PLANTED}[a-z0-9-]+", request))
        document = {
            "detail": f"You sent {sent}",
            "title": sent,
            "code": sent,
            "errors": {f"/{sent}": [sent]},
            "reasons": [sent],
            **more,
        }
        return Says(
            document,
            status,
            {
                "X-Request-Id": sent.replace("/", "-"),
                "Location": f"https://evil.example/{sent}?{sent}",
            },
        )

    return answer


FAULTS = {
    "hangs up": HANGS_UP,
    "a page": HTML,
    "a bad gateway": BAD_GATEWAY,
    "a limit": Says({"code": "x"}, 429),
    **{str(status): echo(status) for status in (302, 400, 401, 403, 404, 409, 422, 503)},
    **{
        code: echo(status, code=code)
        for code, status in [
            ("invalid_credentials", 401),
            ("validation_failed", 422),
            ("wrong_password", 403),
        ]
    },
    **{
        code: echo(400, code=None, error=code)
        for code in ("invalid_grant", "slow_down", "access_denied")
    },
    "another password first": Says(
        {"code": "password_change_required", "reset_token": f"{PLANTED}-reset"}, 403
    ),
    "no token": Says({"access_token": 1, "refresh_token": REFRESH}),
    "a bad life": Says({**TOKENS, "expires_in": -1}),
    "a bad prompt": Says(
        {
            "device_code": CODE,
            "user_code": "BCDF-GHJK",
            "verification_uri": "javascript:alert(1)",
            "access_token": ACCESS,
        }
    ),
}


def told(error: BaseException) -> str:
    """All that anybody could print of an error: with the variables of each frame of ours and of the libraries, and what caused it."""
    frames = traceback.TracebackException.from_exception(error, capture_locals=True)
    chain, found = [frames], []
    while chain:
        one = chain.pop()
        # The test's own frames hold what it planted.
        found += [
            str(local)
            for frame in one.stack
            if "/tests/" not in frame.filename
            for local in (frame.locals or {}).items()
        ]
        chain += [other for other in (one.__cause__, one.__context__) if other is not None]
    return "\n".join(
        [
            *found,
            str(error),
            repr(error),
            repr(error.args),
            repr(vars(error)),
            "".join(frames.format_exception_only()),
        ]
    )


def everything(client: Doorward, tmp_path) -> list[BaseException]:
    """Each thing that sends a secret, and what came of it."""
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
def test_nothing_that_fails_shows_a_secret(stand_in, tmp_path, caplog, fault):
    caplog.set_level(logging.DEBUG)
    there = stand_in(FAULTS[fault])
    client = Doorward(there.url)
    raised = everything(client, tmp_path)
    there.answers = [Says(TOKENS)]
    session = client.login.with_password("ann", PASSWORD)
    there.answers = [FAULTS[fault]]
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
        assert PLANTED not in told(error), told(error)
    # The library logs the headers of answers as they come, and here they give back what was sent; no service of ours does that.
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
def test_what_cannot_be_sent_is_named_and_shows_no_secret(stand_in, act, field):
    there = stand_in(Says(TOKENS))
    with pytest.raises(InvalidInput, match=field) as refused:
        act(Doorward(there.url).login)
    assert list(refused.value.errors) == [field]
    assert PLANTED not in told(refused.value), told(refused.value)
    assert there.seen == []


def test_nothing_shows_a_secret_when_printed(stand_in, tmp_path):
    there = stand_in(
        Says(
            {
                **TOKENS,
                "key": KEY,
                "device_code": CODE,
                "user_code": "BCDF-GHJK",
                "verification_uri": "https://example.com",
            }
        )
    )
    client = Doorward(there.url)
    session = client.login.with_password("ann", PASSWORD, keep=True)
    kept = AuthSession(Secret(ACCESS), datetime.now(UTC) + timedelta(1), Secret(REFRESH))
    sessions = InstanceAuthSessions.load()
    sessions.insert(there.url, "ann", kept)
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
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(kept)
    with pytest.raises(TypeError, match="not pickled"):
        copy.deepcopy(Secret(ACCESS))
    for thing in (client, session, DoorwardAuth(client, origins=["https://a.example"])):
        with pytest.raises(TypeError, match=r"not pickled.+from_store"):
            pickle.dumps(thing)
    assert Secret(ACCESS) == Secret(ACCESS) != Secret(KEY)
    assert len({Secret(ACCESS), Secret(ACCESS)}) == 1


def test_the_reset_token_is_handed_over_and_not_shown(stand_in):
    there = stand_in(
        Says({"code": "password_change_required", "reset_token": f"{PLANTED}-reset"}, 403)
    )
    with pytest.raises(PasswordChangeRequired) as refused:
        Doorward(there.url).login.with_password("ann", PASSWORD)
    assert refused.value.reset_token.reveal() == f"{PLANTED}-reset"
    assert PLANTED not in told(refused.value)
    again = pickle.loads(pickle.dumps(refused.value))
    assert (str(again), again.reset_token, again.status) == (str(refused.value), None, 403)


def test_a_store_that_cannot_be_used_shows_nothing(store, tmp_path):
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
    assert PLANTED not in told(refused.value)
    (tmp_path / "token").write_text(f"ftp://example.com\n{ACCESS}\n")
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(DoorwardError) as refused:
        Doorward().login.from_token_file(tmp_path / "token")
    assert ACCESS not in told(refused.value)
