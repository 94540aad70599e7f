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
def said(capfd):
    """Return the names of the events in the log since the last call."""
    return lambda: [
        json.loads(line)["event"]
        for line in capfd.readouterr().out.splitlines()
        if line.startswith("{")
    ]


def failed(answer) -> bool:
    """Check that the response is an internal error without details of the database."""
    assert answer.status_code in {500, 503}, answer.text
    assert answer.content_type == "application/problem+json"
    assert "hindrance" not in answer.text
    return True


def test_failed_commit_of_a_refresh_consumes_nothing(service):
    ann = service.actor("ann").sign_in()
    with fail_commits(service, "sessions", "UPDATE"):
        assert failed(ann.refresh())
    assert service.scalar("SELECT rt_counter FROM sessions") == 0
    service.clock.push(minutes=5)  # long after the grace period
    again = ann.refresh()
    assert again.status_code == 200
    assert service.scalar("SELECT rt_counter FROM sessions") == 1
    assert service.scalar("SELECT status FROM sessions") == "live"


def test_failed_commit_of_a_reuse_is_detected_again(service, said):
    ann = service.actor("ann").sign_in()
    ann.refresh(ann.refresh().json["refresh_token"])
    said()
    with fail_commits(service, "sessions", "UPDATE"):
        assert failed(ann.refresh())
    assert "refresh_token.reuse_detected" not in said()
    assert service.scalar("SELECT count(*) FROM outbox WHERE template = 'suspicious_session'") == 0
    assert ann.refresh().status_code == 400
    assert "refresh_token.reuse_detected" in said()
    assert ann.whoami().status_code == 401


def test_failed_commit_of_a_login_opens_no_session(service, said):
    ann = service.actor("ann").sign_up()
    mails = len(service.mailbox())
    said()
    with fail_commits(service, "sessions", "INSERT"):
        assert failed(ann.login())
    assert "login.succeeded" not in said()
    assert service.scalar("SELECT count(*) FROM sessions") == 0
    assert len(service.mailbox()) == mails
    assert ann.login().status_code == 200


def test_failed_commit_of_a_registration_takes_no_name_and_sends_no_email(service):
    ann = service.actor("ann")
    with fail_commits(service, "pending_registrations", "INSERT"):
        assert failed(ann.register())
    assert service.mailbox() == []
    service.units.limiter.reset()
    assert ann.register().status_code == 202
    assert ann.confirm().status_code == 200


@pytest.mark.parametrize("by", ["link", "code"])
def test_failed_commit_of_a_confirmation_consumes_nothing(service, said, by):
    ann = service.actor("ann")
    ann.register()
    body = (
        {"token": ann.get_mailed_token(), "password": PASSWORD}
        if by == "link"
        else {"registration": ann.registration, "code": ann.mail()["code"]}
    )
    said()
    with fail_commits(service, "accounts", "INSERT"):
        assert failed(ann.post("/v1/register/confirm", body))
    assert "account.confirmed" not in said()
    assert service.scalar("SELECT count(*) FROM accounts") == 0
    assert ann.post("/v1/register/confirm", body).status_code == 200
    assert ann.login().status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/logout"), ("POST", "/v1/logout-all"), ("DELETE", "/v1/sessions")],
)
def test_failed_commit_of_a_logout_publishes_no_revocation(service, said, method, path):
    ann = service.actor("ann").sign_in()
    twin = service.actor("ann")
    twin.login()
    said()
    with fail_commits(service, "sessions", "UPDATE"):
        assert failed(ann.call(method, path, token=ann.access))
    assert not [name for name in said() if name.startswith("session")]
    assert service.scalar("SELECT count(*) FROM revocations") == 0
    assert [ann.whoami().status_code, twin.whoami().status_code] == [200, 200]
    assert ann.call(method, path, token=ann.access).status_code == 204
    assert twin.whoami().status_code == (200 if path == "/v1/logout" else 401)


@pytest.mark.parametrize("by", ["reset", "change"])
def test_failed_commit_of_a_password_change_keeps_the_old_password(service, said, by):
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
    said()
    with fail_commits(service, "sessions", "UPDATE"):
        assert failed(call())
    assert not [name for name in said() if name.startswith("password.")]
    assert ann.whoami().status_code == 200
    assert ann.login(password=NEW).status_code == 401
    assert ann.login(password=PASSWORD).status_code == 200
    assert call().status_code in {200, 204}
    assert ann.login(password=NEW).status_code == 200
