"""Equal cost: statements and hashes are the same for every reason of a refusal.

`make bench` measures times on the wire; here the work itself is counted, independently of the load
of the machine.
"""

from __future__ import annotations

import time

import pytest

from tests.actors import EXPENSIVE_HASH, PASSWORD, WRONG_PASSWORD
from tests.device_logins import claim, decide, start_device_login
from tests.request_cost import record_request, record_statements


@pytest.fixture
def populated_service(service):
    """Users with a confirmed, an unconfirmed and a disabled account.

    The clock is frozen, so signing keys are not reloaded.
    """
    service.freeze_clock()
    service.actor("ann").sign_up()
    service.actor("cyd").sign_up()
    service.actor("bob").register()
    service.scalar("UPDATE accounts SET status = 'disabled' WHERE username = 'cyd' RETURNING id")
    service.units.limiter.reset()
    return service


@pytest.mark.parametrize("at", ["", "@example.org"], ids=["by name", "by address"])
def test_every_failed_login_sends_the_same_statements(populated_service, at):
    work = {
        name: record_request(
            populated_service, "/v1/login", {"username": name + at, "password": WRONG_PASSWORD}
        )
        for name in ("nobody", "ann", "bob", "cyd")
    }
    work["cyd with the right password"] = record_request(
        populated_service, "/v1/login", {"username": "cyd" + at, "password": PASSWORD}
    )
    work["bob with the right password"] = record_request(
        populated_service, "/v1/login", {"username": "bob" + at, "password": PASSWORD}
    )
    for name, statements in work.items():
        assert statements == work["nobody"], name


@pytest.mark.parametrize("password", [PASSWORD, None], ids=["with a password", "without"])
def test_registration_sends_the_same_statements_for_any_email(populated_service, password):
    work = []
    for number, email in enumerate(
        ("new@example.org", "ann@example.org", "bob@example.org", "cyd@example.org")
    ):
        body = {"username": f"other{number}", "email": email, "name": "Other", "password": password}
        work.append(
            record_request(
                populated_service,
                "/v1/register",
                {name: value for name, value in body.items() if value is not None},
            )
        )
    assert all(statements == work[0] for statements in work)


def test_resend_sends_the_same_statements_for_any_account(populated_service):
    work = [
        record_request(populated_service, "/v1/register/resend", {"email": f"{name}@example.org"})
        for name in ("nobody", "ann", "bob", "cyd")
    ]
    assert all(statements == work[0] for statements in work)


@pytest.mark.parametrize("field", ["username", "email"])
def test_forgot_password_sends_the_same_statements_for_any_account(populated_service, field):
    at = "@example.org" if field == "email" else ""
    work = {
        name: record_request(populated_service, "/v1/password/forgot", {field: name + at})
        for name in ("nobody", "ann", "bob", "cyd")
    }
    for name, statements in work.items():
        assert statements == work["nobody"], name


@pytest.mark.parametrize("at", ["", "@example.org"], ids=["by name", "by address"])
def test_device_login_start_sends_the_same_statements_for_any_account(populated_service, at):
    names = ("nobody", "ann", "bob", "cyd")
    work = [
        record_request(
            populated_service, "/v1/login-sessions", {"client_name": "box", "username": name + at}
        )
        for name in names
    ]
    assert all(statements == work[0] for statements in work)


def test_unclaimable_code_sends_the_same_statements_for_any_reason(populated_service):
    ann, dan = populated_service.actor("ann"), populated_service.actor("dan").sign_in()
    ann.login()
    boxes = {
        what: start_device_login(populated_service) for what in ("claimed", "denied", "expired")
    }
    for what in ("claimed", "denied"):
        assert claim(ann, boxes[what].code).status_code == 200
    assert decide(ann, boxes["denied"], "deny").status_code == 200
    boxes["expired"].start(username="ann")
    populated_service.scalar(
        "UPDATE login_sessions SET expires_at = created_at WHERE id = :id RETURNING id",
        id=boxes["expired"].id,
    )
    work = {}
    for what, code in {
        "unknown": "BBBB-BBBB",
        **{what: box.code for what, box in boxes.items()},
    }.items():
        with record_statements(populated_service) as work[what]:
            assert claim(dan, code).json["code"] == "unknown_user_code"
    for what, statements in work.items():
        assert statements == work["unknown"], what


def test_unknown_handle_sends_the_same_statements_as_a_known_one(populated_service):
    known = populated_service.scalar("SELECT id FROM pending_registrations WHERE username = 'bob'")
    for path, more in (
        ("/v1/register/resend", {}),
        ("/v1/register/confirm", {"code": "BBBB-BBBB"}),
    ):
        assert record_request(
            populated_service, path, {"registration": known, **more}
        ) == record_request(populated_service, path, {"registration": "reg_" + "0" * 22, **more})


def test_every_failed_login_computes_one_hash(make_service):
    """Measured in CPU time in alternation, so that other processes do not matter."""
    service = make_service(
        limit_login="1000/minute", limit_register="1000/minute", **EXPENSIVE_HASH
    )
    for name in ("ann", "cyd", "dan"):
        service.actor(name).sign_up()
    service.actor("bob").register()
    service.scalar("UPDATE accounts SET status = 'disabled' WHERE username = 'cyd' RETURNING id")
    names = (
        "nobody",
        "ann",
        "bob",
        "cyd",
        "nobody-else@example.org",
        "dan@example.org",
        "@@",
        "a\u200bnn",
    )
    seconds = {name: [] for name in names}
    stranger = service.actor("stranger")
    for _ in range(3):
        for name in names:
            began = time.process_time()
            assert stranger.login(username=name, password=WRONG_PASSWORD).status_code == 401
            seconds[name].append(time.process_time() - began)
    usual = min(seconds["ann"])  # the minimum of each, because other work only adds time
    for name, taken in seconds.items():
        assert 0.6 * usual < min(taken) < 1.6 * usual, (name, seconds)
