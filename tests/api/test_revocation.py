"""Logout of one session and of all: the tokens are refused from the next request on."""

from __future__ import annotations

import pytest


@pytest.fixture
def ann(service):
    return service.actor().sign_in()


def test_logout_by_access_token_ends_only_this_session(service, ann):
    first = ann.tokens
    ann.login()
    assert ann.post("/v1/logout", token=first["access_token"]).status_code == 204
    assert ann.whoami(first["access_token"]).status_code == 401
    assert ann.refresh(first["refresh_token"]).status_code == 400
    assert ann.whoami().status_code == 200
    assert service.scalar("SELECT epoch FROM accounts") == 1
    assert service.scalar("SELECT count(*) FROM revocations WHERE kind = 'session'") == 1


def test_logout_needs_and_returns_no_body(ann):
    answer = ann.call("POST", "/v1/logout", token=ann.access)
    assert (answer.status_code, answer.data) == (204, b"")
    assert "Content-Type" not in answer.headers


@pytest.mark.parametrize("path", ["/v1/logout", "/v1/logout-all"])
def test_refresh_token_logs_out_when_the_access_token_expired(service, ann, path):
    service.clock.push(minutes=6)
    assert ann.whoami().status_code == 401
    assert ann.post(path, token=ann.access).status_code == 401
    assert (
        ann.post(path, {"refresh_token": ann.tokens["refresh_token"]}, token=ann.access).status_code
        == 204
    )
    assert ann.refresh().status_code == 400
    assert service.scalar("SELECT status FROM sessions") == "logged_out"


def test_refresh_token_alone_logs_out(ann):
    assert ann.post("/v1/logout", {"refresh_token": ann.tokens["refresh_token"]}).status_code == 204
    assert ann.whoami().status_code == 401


@pytest.mark.parametrize("path", ["/v1/logout", "/v1/logout-all"])
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"refresh_token": None},
        {"refresh_token": "x"},
        {"refresh_token": 1},
        {"refresh_token": "dwr1.aaaaaaaa.ses_" + "0" * 22 + ".0." + "A" * 43},
    ],
)
def test_logout_without_a_token_is_401(sqlite_service, path, body):
    ann = sqlite_service.actor().sign_in()
    for token in (None, "x", ann.tokens["refresh_token"]):
        answer = ann.post(path, body, token=token)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert ann.whoami().status_code == 200


def test_the_access_token_decides_which_session_ends(service, ann):
    first = ann.tokens
    ann.login()
    assert (
        ann.post(
            "/v1/logout", {"refresh_token": first["refresh_token"]}, token=ann.access
        ).status_code
        == 204
    )
    assert ann.whoami().status_code == 401
    assert ann.whoami(first["access_token"]).status_code == 200


def test_logged_out_session_cannot_log_out_again(ann):
    assert ann.logout().status_code == 204
    assert ann.logout().status_code == 401
    assert ann.post("/v1/logout", {"refresh_token": ann.tokens["refresh_token"]}).status_code == 401


@pytest.mark.parametrize(("body", "status"), [(b"{", 400), (b'{"everything": true}', 422)])
def test_logout_with_an_invalid_body_ends_nothing(sqlite_service, body, status):
    ann = sqlite_service.actor().sign_in()
    answer = ann.call(
        "POST", "/v1/logout", token=ann.access, data=body, content_type="application/json"
    )
    assert answer.status_code == status
    assert ann.whoami().status_code == 200


def test_logout_everywhere_increments_the_epoch_and_ends_every_token(service, ann):
    first = ann.tokens
    ann.login()
    bob = service.actor("bob").sign_in()
    fresh = ann.refresh(first["refresh_token"]).json
    assert ann.post("/v1/logout-all", token=ann.access).status_code == 204
    assert service.scalar("SELECT epoch FROM accounts WHERE username = 'ann'") == 2
    for token in (first["access_token"], fresh["access_token"], ann.access):
        assert ann.whoami(token).status_code == 401
    for token in (first["refresh_token"], fresh["refresh_token"], ann.tokens["refresh_token"]):
        assert ann.refresh(token).status_code == 400
    assert (
        service.scalar("SELECT count(*) FROM revocations WHERE kind = 'account' AND epoch = 2") == 1
    )
    assert service.scalar("SELECT count(*) FROM outbox WHERE template = 'suspicious_session'") == 0
    assert bob.whoami().status_code == 200
    assert ann.login().status_code == 200
    assert ann.whoami().status_code == 200
    assert ann.refresh().status_code == 200


def test_session_ended_by_one_replica_is_refused_by_another_at_once(make_service, database_url):
    first, second = make_service(database_url), make_service(database_url)
    ann = first.actor().sign_in()
    ann.service = second
    assert ann.whoami().status_code == 200
    ann.service = first
    ann.logout()
    ann.service = second
    assert ann.whoami().status_code == 401
    assert ann.refresh().status_code == 400


def test_a_disabled_account_is_refused_at_once(service, ann):
    service.scalar("UPDATE accounts SET status = 'disabled' RETURNING id")
    assert ann.whoami().status_code == 401
    assert ann.logout().status_code == 401
    assert ann.get("/v1/me", token=ann.access).status_code == 401


def test_deleting_an_account_ends_its_sessions(service, ann):
    service.scalar("DELETE FROM accounts RETURNING id")
    assert ann.whoami().status_code == 401
    assert ann.refresh().status_code == 400
    assert ann.login().status_code == 401
