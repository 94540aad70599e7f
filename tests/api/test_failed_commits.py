"""A failed COMMIT leaves no effect: what was consumed is still valid, and nothing is half done.

The database rejects the COMMIT itself, because of a deferred foreign key: everything before it
succeeds.
"""

from __future__ import annotations

import json

import pytest

from tests.actors import PASSWORD
from tests.commit_failures import fail_commits

NEW = "a sentence that nobody has said before"


@pytest.fixture
def read_events(capfd):
    """Return the names of the events in the log since the last call."""
    return lambda: [
        json.loads(line)["event"]
        for line in capfd.readouterr().out.splitlines()
        if line.startswith("{")
    ]


def is_internal_error(answer) -> bool:
    """Check that the response is an internal error without details of the database."""
    assert answer.status_code in {500, 503}, answer.text
    assert answer.content_type == "application/problem+json"
    assert "hindrance" not in answer.text
    return True


def test_failed_commit_of_a_refresh_consumes_nothing(service):
    ann = service.actor("ann").sign_in()
    with fail_commits(service, "sessions", "UPDATE"):
        assert is_internal_error(ann.refresh())
    assert service.scalar("SELECT rt_counter FROM sessions") == 0
    service.clock.push(minutes=5)  # long after the grace period
    again = ann.refresh()
    assert again.status_code == 200
    assert service.scalar("SELECT rt_counter FROM sessions") == 1
    assert service.scalar("SELECT status FROM sessions") == "live"


def test_failed_commit_of_a_reuse_is_detected_again(service, read_events):
    ann = service.actor("ann").sign_in()
    ann.refresh(ann.refresh().json["refresh_token"])
    read_events()
    with fail_commits(service, "sessions", "UPDATE"):
        assert is_internal_error(ann.refresh())
    assert "refresh_token.reuse_detected" not in read_events()
    assert service.scalar("SELECT count(*) FROM outbox WHERE template = 'suspicious_session'") == 0
    assert ann.refresh().status_code == 400
    assert "refresh_token.reuse_detected" in read_events()
    assert ann.whoami().status_code == 401


def test_failed_commit_of_a_login_opens_no_session(service, read_events):
    ann = service.actor("ann").sign_up()
    mails = len(service.mailbox())
    read_events()
    with fail_commits(service, "sessions", "INSERT"):
        assert is_internal_error(ann.login())
    assert "login.succeeded" not in read_events()
    assert service.scalar("SELECT count(*) FROM sessions") == 0
    assert len(service.mailbox()) == mails
    assert ann.login().status_code == 200


def test_failed_commit_of_a_registration_takes_no_name_and_sends_no_email(service):
    ann = service.actor("ann")
    with fail_commits(service, "pending_registrations", "INSERT"):
        assert is_internal_error(ann.register())
    assert service.mailbox() == []
    service.units.limiter.reset()
    assert ann.register().status_code == 202
    assert ann.confirm().status_code == 200


@pytest.mark.parametrize("by", ["link", "code"])
def test_failed_commit_of_a_confirmation_consumes_nothing(service, read_events, by):
    ann = service.actor("ann")
    ann.register()
    body = (
        {"token": ann.get_mailed_token(), "password": PASSWORD}
        if by == "link"
        else {"registration": ann.registration, "code": ann.mail()["code"]}
    )
    read_events()
    with fail_commits(service, "accounts", "INSERT"):
        assert is_internal_error(ann.post("/v1/register/confirm", body))
    assert "account.confirmed" not in read_events()
    assert service.scalar("SELECT count(*) FROM accounts") == 0
    assert ann.post("/v1/register/confirm", body).status_code == 200
    assert ann.login().status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/logout"), ("POST", "/v1/logout-all"), ("DELETE", "/v1/sessions")],
)
def test_failed_commit_of_a_logout_publishes_no_revocation(service, read_events, method, path):
    ann = service.actor("ann").sign_in()
    other_login = service.actor("ann")
    other_login.login()
    read_events()
    with fail_commits(service, "sessions", "UPDATE"):
        assert is_internal_error(ann.call(method, path, token=ann.access))
    assert not [name for name in read_events() if name.startswith("session")]
    assert service.scalar("SELECT count(*) FROM revocations") == 0
    assert [ann.whoami().status_code, other_login.whoami().status_code] == [200, 200]
    assert ann.call(method, path, token=ann.access).status_code == 204
    assert other_login.whoami().status_code == (200 if path == "/v1/logout" else 401)


@pytest.mark.parametrize("by", ["reset", "change"])
def test_failed_commit_of_a_password_change_keeps_the_old_password(service, read_events, by):
    ann = service.actor("ann").sign_in()
    assert ann.post("/v1/password/forgot", {"username": "ann"}).status_code == 202
    token = next(mail for mail in service.mailbox(ann.email) if "/reset/" in mail["text"])["links"][
        0
    ].rpartition("/")[2]
    call = {
        "reset": lambda: ann.post("/v1/password/reset", {"token": token, "new_password": NEW}),
        "change": lambda: ann.post(
            "/v1/password/change", {"old_password": PASSWORD, "new_password": NEW}, token=ann.access
        ),
    }[by]
    read_events()
    with fail_commits(service, "sessions", "UPDATE"):
        assert is_internal_error(call())
    assert not [name for name in read_events() if name.startswith("password.")]
    assert ann.whoami().status_code == 200
    assert ann.login(password=NEW).status_code == 401
    assert ann.login(password=PASSWORD).status_code == 200
    assert call().status_code in {200, 204}
    assert ann.login(password=NEW).status_code == 200
