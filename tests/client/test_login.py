"""Logging in with each method, and logging out."""

from __future__ import annotations

import json
import socket
import stat
import threading
from datetime import timedelta

import pytest

from doorward import (
    Doorward,
    InvalidCredentials,
    InvalidInput,
    InvalidToken,
    LoginDenied,
    LoginExpired,
    LoginPending,
    LoginTimeout,
    LogoutError,
    NotFound,
    NotLoggedInError,
    PermissionDenied,
    Prompt,
    ReauthenticationRequired,
    StoreError,
    VersionMismatch,
    VersionPolicy,
    VersionWarning,
    WrongPassword,
)
from tests.actors import PASSWORD
from tests.client.conftest import register_user


def test_password_login_opens_a_session(ann):
    client = ann.client()
    session = client.login.with_password(ann.name, PASSWORD, device_name="attic", expires_in=3600)
    assert (client.session, session.username, session.login_method) == (
        session,
        ann.name,
        "with_password",
    )
    assert client.token == session.token
    found = client.whoami()
    assert (found.username, found.kind, found.session_id) == (
        ann.name,
        "session",
        session.session_id,
    )
    me = client.get_me()
    assert (me.account.username, me.session.device_name, me.session.current) == (
        ann.name,
        "attic",
        True,
    )
    assert 3500 < (me.session.expires_at - me.session.created_at).total_seconds() <= 3600


def test_wrong_password_raises_invalid_credentials(ann):
    with pytest.raises(
        InvalidCredentials, match=r"^The username or password is wrong\. .+\.$"
    ) as refused:
        ann.client().login.with_password(ann.name, "wrong horse battery staple")
    assert (refused.value.code, refused.value.status) == ("invalid_credentials", 401)
    assert refused.value.request_id.startswith("req_")


def test_second_login_replaces_the_first_in_the_client(ann, live):
    bob, client = register_user(live), ann.client()
    first = client.login.with_password(ann.name, PASSWORD)
    second = client.login.with_password(bob.name, PASSWORD)
    assert client.whoami().username == bob.name
    assert client.session is second
    assert first.validate().username == ann.name, "the first session is still active"


def test_logout_ends_the_session(ann):
    client = ann.log_in()
    token, other = client.token, ann.log_in()
    client.logout()
    client.logout()
    assert not client.logged_in
    with pytest.raises(NotLoggedInError, match="logged out"):
        _ = client.token
    with pytest.raises(InvalidToken):
        ann.client().login.with_token(token).validate()
    assert other.whoami().username == ann.name


def test_logout_all_ends_all_sessions(ann):
    client, other = ann.log_in(), ann.log_in()
    client.logout_all()
    with pytest.raises(NotLoggedInError, match=r"^The session has ended\. Log in again\.$"):
        other.validate()
    assert not other.logged_in


def test_logout_all_from_an_ended_session_raises(ann):
    client, other = ann.log_in(), ann.log_in()
    other.revoke_session(client.session.session_id)
    for _ in range(2):
        with pytest.raises(NotLoggedInError, match="had ended before"):
            client.logout_all()
    assert not client.logged_in
    assert other.validate().username == ann.name


def test_context_manager_logs_out(ann):
    client = ann.client()
    with client.login.with_password(ann.name, PASSWORD) as session:
        token = session.token
    with pytest.raises(InvalidToken):
        ann.client().login.with_token(token).validate()
    with (
        pytest.raises(ZeroDivisionError),
        client.login.with_password(ann.name, PASSWORD) as session,
    ):
        _ = 1 / 0
    assert not session.is_active


def test_failed_logout_can_be_repeated(ann, fake_server):
    from tests.client.fake_server import BAD_GATEWAY, TOKENS, Reply

    server = fake_server(
        Reply({}, 204),
        routes={"/v1/login": [Reply(TOKENS)], "/v1/logout": [BAD_GATEWAY, Reply({}, 204)]},
    )
    client = Doorward(server.url)
    client.login.with_password("ann", PASSWORD)
    with pytest.raises(LogoutError, match="may still be active"):
        client.logout()
    assert client.logged_in
    client.logout()
    assert not client.logged_in


def test_new_client_is_not_logged_in(ann):
    with pytest.raises(NotLoggedInError, match="not logged in"):
        _ = ann.client().token
    ann.client().logout()


def test_api_key_grants_its_scopes(ann):
    client = ann.log_in()
    made = client.keys.create("robot", expires_in=3600)
    assert client.keys.list()[0].id == made.id
    robot = ann.client()
    robot.login.with_api_key(made.key)
    assert (robot.validate().kind, robot.token) == ("api_key", made.key.reveal())
    with pytest.raises(PermissionDenied):
        robot.list_sessions()
    with pytest.raises(StoreError, match="does not hold API keys"):
        robot.session.to_store()
    with pytest.raises(InvalidInput) as refused:
        client.keys.create("endless", expires_in=None)
    assert list(refused.value.errors) == ["expires_in"]
    turned = client.keys.rotate(made.id, overlap=0)
    with pytest.raises(InvalidToken):
        robot.validate()
    client.keys.delete(turned.id)
    with pytest.raises(NotFound):
        client.keys.delete("key_none")
    with pytest.raises(LogoutError):
        robot.logout_all()
    robot.logout()
    assert not robot.logged_in


def test_sessions_are_listed_and_revoked(ann):
    client, other = ann.log_in(device_name="desk"), ann.log_in(device_name="attic")
    assert [one.device_name for one in client.list_sessions()] == ["attic", "desk"]
    client.revoke_session(other.session.session_id)
    assert [one.device_name for one in client.list_sessions()] == ["desk"]
    with pytest.raises(NotFound):
        client.revoke_session("../me")


def test_password_change_keeps_this_session(ann):
    client, other = ann.log_in(), ann.log_in()
    with pytest.raises(WrongPassword):
        client.change_password("not it at all, sorry", "another horse battery staple")
    with pytest.raises(InvalidInput) as refused:
        client.change_password(PASSWORD, "short")
    assert "new_password" in refused.value.errors
    assert "too_short" in refused.value.reasons
    assert len(refused.value.suggestions) == 3
    client.change_password(PASSWORD, "another horse battery staple")
    client.session.refresh()
    assert client.whoami().username == ann.name
    with pytest.raises(NotLoggedInError):
        other.validate()


def test_roles_and_levels_can_be_checked(ann):
    from doorward import RoleCheck

    client = ann.log_in()
    account = client.whoami().account_id
    assert client.list_roles() == ()
    assert client.list_roles(account, resource="list", id="7") == ()
    assert client.check_roles(
        [
            RoleCheck(account, role="admin"),
            RoleCheck(account, resource="list", id="7", level="public"),
        ]
    ) == (False, True)
    with pytest.raises(InvalidInput):
        client.check_roles(RoleCheck(account, resource="list", id="7", level="emperor"))


def test_args_describe_every_login_method():
    client = Doorward("https://auth.example.com")
    assert client.args_required["with_password"] == ("username", "password")
    assert client.args_secure["with_password"] == ("password",)
    for way, described in client.args.items():
        method = getattr(client.login, way)
        assert set(described) <= set(method.__annotations__)
        assert {*client.args_required[way], *client.args_secure[way]} <= set(described)


def test_version_policy_compares_versions(live, ann):
    client = Doorward(live.url)
    version = client.get_version().version
    client.check_version(min="0.1", max=version, equal=version, error=True)
    with pytest.warns(VersionWarning, match="at least 99"):
        client.check_version(min="99")
    with pytest.raises(VersionMismatch, match="at most"):
        client.check_version(max="0.0.9", error=True)
    with pytest.raises(InvalidInput):
        client.check_version(min="new")
    VersionPolicy(min="1.0", error=True).check("v1.0.0+local")
    with pytest.raises(VersionMismatch):
        VersionPolicy(min="1.0", error=True).check("1.0rc1")
    with pytest.raises(VersionMismatch):  # before the password is sent
        Doorward(live.url, version_policy=VersionPolicy(equal="7", error=True)).login.with_password(
            ann.name, PASSWORD
        )


# Token files.


def test_token_file_is_private_and_kept_up_to_date(ann, tmp_path):
    path = tmp_path / "token"
    path.write_text("older\n")
    path.chmod(0o666)
    client = ann.log_in()
    client.session.to_token_file(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    lines = path.read_text().splitlines()
    assert lines[:2] == [ann.live.url, client.token]
    other = Doorward()
    other.login.from_token_file(path)
    other.session.refresh()
    assert path.read_text().splitlines()[1] == other.token != lines[1]
    assert client.whoami().username == other.whoami().username == ann.name
    other.logout()
    assert not path.exists()


def test_token_file_in_world_writable_folder_is_refused(ann, tmp_path):
    open_to_all = tmp_path / "all"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    client = ann.log_in()
    with pytest.raises(StoreError, match="Every user can write"):
        client.session.to_token_file(open_to_all / "token")
    assert list(open_to_all.iterdir()) == []
    open_to_all.chmod(0o1777)
    client.session.to_token_file(open_to_all / "token")


def test_token_file_for_plain_http_is_kept_up_to_date(fake_server, tmp_path, monkeypatch):
    from tests.client.fake_server import TOKENS, Reply

    server = fake_server(
        Reply(TOKENS), routes={"/v1/token/refresh": [Reply({**TOKENS, "access_token": "at2"})]}
    )
    url = server.url.replace("127.0.0.1", "auth.internal")
    found = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: found(
            host.replace("auth.internal", "127.0.0.1"), *rest, **more
        ),
    )
    client = Doorward(url, allow_http=True)
    client.login.with_password("ann", PASSWORD)
    client.session.to_token_file(tmp_path / "token")
    client.session.refresh()
    assert (tmp_path / "token").read_text().splitlines()[:2] == [url, "at2"]


def test_token_file_of_an_api_key_has_two_lines(ann, tmp_path):
    key = ann.log_in().keys.create("robot").key
    client = ann.client()
    client.login.with_api_key(key).to_token_file(tmp_path / "key")
    assert (tmp_path / "key").read_text().splitlines() == [ann.live.url, key.reveal()]
    again = Doorward()
    again.login.from_token_file(tmp_path / "key")
    assert again.whoami().kind == "api_key"
    with pytest.raises(StoreError, match="does not hold API keys"):
        again.session.to_store()
    with pytest.raises(LogoutError, match="has no session"):
        again.logout_all()
    again.logout()
    assert not (tmp_path / "key").exists()
    assert client.whoami().kind == "api_key", "logging out does not revoke a key"
    client.logout()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "https://auth.example.com\n",
        "a b c d",
        "nonsense\ntoken\nx\ny",
        "https://auth.example.com\ntokén",
    ],
)
def test_invalid_token_file_is_reported(tmp_path, content):
    (tmp_path / "token").write_text(content)
    (tmp_path / "token").chmod(0o600)
    with pytest.raises(StoreError, match="is not a token file"):
        Doorward().login.from_token_file(tmp_path / "token")
    with pytest.raises(StoreError, match="does not exist"):
        Doorward().login.from_token_file(tmp_path / "none")
    with pytest.raises(StoreError, match="is not a regular file"):
        Doorward().login.from_token_file(tmp_path)


# Another device.


def build_approver(person, prompts, word="approve"):
    """Return an on_prompt that decides in another thread."""

    def approve_prompt(prompt: Prompt):
        prompts.append(prompt)
        threading.Thread(
            target=person.approve, args=(prompt.user_code,), kwargs={"word": word}
        ).start()

    return approve_prompt


def test_device_login_is_approved(ann):
    client, prompts = ann.client(), []
    session = client.login.on_another_device(
        on_prompt=build_approver(ann, prompts),
        client_name="backup",
        login_message="nightly",
        hostname="attic",
        expires_in=timedelta(hours=1),
        timeout=30,
    )
    [prompt] = prompts
    assert (prompt.session_id, session.username) == (session.session_id, ann.name)
    assert prompt.login_message == "nightly"
    assert len(prompt.check_phrase.split()) == 3
    assert prompt.user_code in str(prompt)
    assert prompt.verification_uri_complete.endswith(prompt.user_code)
    assert "▀" in prompt.render_qr() or "█" in prompt.render_qr()
    assert prompt.device_code.reveal() not in repr(prompt)
    client.session.refresh()
    me = client.get_me()
    assert me.session.device_name == "backup on attic"
    assert 3500 < (me.session.expires_at - me.session.created_at).total_seconds() <= 3600
    with pytest.raises(ReauthenticationRequired):
        client.keys.create("robot")
    client.elevate(PASSWORD)
    assert client.keys.create("robot").key


def test_device_login_is_found_after_its_first_token_expired(ann, store):
    client = ann.client()
    session = client.login.on_another_device(on_prompt=build_approver(ann, []), timeout=30)
    client.session.to_store()
    kept = json.loads(store.read_text())
    kept[ann.live.url][ann.name]["expires"] = "2026-01-01T00:00:00Z"
    del kept[ann.live.url][ann.name][
        "refresh_expires"
    ]  # other services do not report the expiry of a refresh token
    store.write_text(json.dumps(kept))
    again = Doorward()
    assert again.login.from_store().session_id == session.session_id
    assert again.whoami().username == ann.name


def test_device_login_is_completed_later_only_once(ann):
    client = ann.client()
    prompt = client.login.request_on_another_device(client_name="backup")
    with pytest.raises(InvalidInput, match="public session id"):
        client.login.with_session_id(prompt.session_id)
    with pytest.raises(LoginPending):
        client.login.with_session_id(prompt.device_code)
    assert ann.approve(prompt.user_code) == 200
    assert client.login.with_session_id(prompt.device_code.reveal()).session_id == prompt.session_id
    with pytest.raises(LoginExpired, match="completed already"):
        ann.client().login.with_session_id(prompt.device_code)


def test_device_login_is_denied(ann):
    client = ann.client()
    prompt = client.login.request_on_another_device(username=ann.name)
    assert ann.approve(prompt.user_code, word="deny") == 200
    with pytest.raises(LoginDenied, match="denied"):
        client.login.with_session_id(prompt.device_code, wait=True, timeout=20)


def test_timeout_cancels_the_device_login(ann, live):
    prompts, client = [], ann.client()
    with pytest.raises(LoginTimeout, match="within 1 s"):
        client.login.on_another_device(on_prompt=prompts.append, timeout=1)
    with pytest.raises(LoginExpired):
        client.login.with_session_id(prompts[0].device_code)


def test_interrupt_cancels_the_device_login(ann):
    prompts, client = [], ann.client()

    def interrupt(prompt):
        prompts.append(prompt)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.login.on_another_device(on_prompt=interrupt)
    with pytest.raises(LoginExpired):
        client.login.with_session_id(prompts[0].device_code)


def test_unknown_client_id_is_rejected(ann):
    with pytest.raises(InvalidInput, match="client_id") as refused:
        ann.client().login.request_on_another_device(client_id="nobody")
    assert refused.value.errors or refused.value.code == "invalid_client"
    with pytest.raises(LoginExpired):
        ann.client().login.with_session_id("dwl_nothing")
