"""Resending the confirmation.

The response reveals nothing, the older link and code end, and emails are limited.
"""

from __future__ import annotations

import shutil

import pytest

from tests.actors import PASSWORD, Service, build_settings


def resend(actor, **body):
    return actor.post("/v1/register/resend", body)


def confirm_by_link(actor, token: str):
    return actor.post("/v1/register/confirm", {"token": token, "password": PASSWORD})


def advance_clock(service, **time: float) -> None:
    """Clear the rate limits, which use the clock of the machine."""
    service.clock.push(**time)
    service.units.limiter.reset()


def normalize_response(answer) -> tuple[int, bytes, dict[str, str]]:
    return (
        answer.status_code,
        answer.data,
        {name: value for name, value in answer.headers.items() if name != "X-Request-Id"},
    )


@pytest.fixture
def pat(service):
    """A user who registered and received an email."""
    pat = service.actor("pat")
    pat.register()
    return pat


@pytest.fixture(scope="module")
def shared_service(sqlite_template, tmp_path_factory):
    """A shared service for requests that store nothing, each from its own IP address."""
    path = tmp_path_factory.mktemp("untouched") / "doorward.db"
    shutil.copy(sqlite_template, path)
    service = Service(build_settings(f"sqlite:///{path}"))
    yield service
    service.close()


def test_answer_does_not_reveal_whether_an_email_was_sent(pat):
    service = pat.service
    service.actor("ann").sign_up()
    service.actor("eve", email="ann@example.org").register()
    bodies = [
        {"registration": pat.registration},
        {"email": pat.email},
        {"email": "ann@example.org"},
        {"email": "nobody@example.org"},
        {"registration": "reg_" + "0" * 22},
        {"registration": "junk"},
    ]
    answers = [resend(service.actor(), **body) for body in bodies for _ in range(2)]
    assert answers[0].status_code == 202
    assert answers[0].json == {"status": "accepted"}
    assert len({str(normalize_response(answer)) for answer in answers}) == 1


@pytest.mark.parametrize("way", ["registration", "email"])
def test_newer_link_and_code_invalidate_the_older_ones(pat, way):
    token, code = pat.get_mailed_token(), pat.mail()["code"]
    advance_clock(pat.service, minutes=2)
    resend(pat, **{way: getattr(pat, way)})
    assert len(pat.service.mailbox(pat.email)) == 2
    assert pat.get_mailed_token() != token
    assert pat.mail()["code"] != code

    assert confirm_by_link(pat, token).status_code == 400
    assert pat.get(f"/confirm/{token}").status_code == 400
    assert pat.confirm(code=code).status_code == 400
    assert pat.confirm().status_code == 200
    assert pat.login().status_code == 200


def test_newer_link_works(pat):
    advance_clock(pat.service, minutes=2)
    resend(pat, email=pat.email.upper())
    assert confirm_by_link(pat, pat.get_mailed_token()).status_code == 200


def test_newer_code_is_valid_for_30_minutes_and_five_attempts(pat):
    for _ in range(5):
        assert pat.confirm(code="BBBB-BBBB").status_code == 400
    advance_clock(pat.service, hours=2)
    resend(pat, registration=pat.registration)
    pat.service.clock.push(minutes=29)
    for _ in range(4):
        assert pat.confirm(code="BBBB-BBBB").status_code == 400
    assert pat.confirm().status_code == 200


def test_confirmation_is_not_resent_after_a_day(pat):
    advance_clock(pat.service, hours=24, seconds=1)
    for body in ({"registration": pat.registration}, {"email": pat.email}):
        assert resend(pat, **body).status_code == 202
    assert len(pat.service.mailbox()) == 1


def test_resend_does_not_extend_the_username_reservation(pat):
    advance_clock(pat.service, hours=23)
    resend(pat, registration=pat.registration)
    advance_clock(pat.service, hours=1, seconds=1)
    assert confirm_by_link(pat, pat.get_mailed_token()).status_code == 400
    assert pat.service.actor("pat", email="other@example.org").register().status_code == 202


def test_account_owner_is_told_about_the_existing_account(service):
    ann = service.actor("ann").sign_up()
    advance_clock(service, minutes=2)
    resend(service.actor("eve"), email="ANN@example.org")
    assert ann.mail()["template"] == "already_registered"
    assert len(service.mailbox()) == 2


def test_registration_of_a_known_email_notifies_only_its_owner(service):
    ann = service.actor("ann").sign_up()
    eve = service.actor("eve", email=ann.email)
    eve.register()
    advance_clock(service, minutes=2)
    resend(eve, registration=eve.registration)
    mails = service.mailbox()
    assert [mail["to"] for mail in mails] == [ann.email] * 3
    assert [mail["code"] for mail in mails[:2]] == [None, None]


def test_no_email_without_a_registration(service):
    for body in ({"email": "nobody@example.org"}, {"registration": "reg_" + "0" * 22}):
        assert resend(service.actor(), **body).status_code == 202
    assert service.mailbox() == []


# Limits per recipient.


def test_second_email_within_a_minute_is_suppressed_and_the_first_valid(pat):
    for body in ({"registration": pat.registration}, {"email": pat.email}):
        assert resend(pat, **body).status_code == 202
    assert len(pat.service.mailbox()) == 1
    assert pat.get(f"/confirm/{pat.get_mailed_token()}").status_code == 200
    assert pat.confirm().status_code == 200


def test_repeated_requests_by_a_stranger_keep_the_link_valid(pat):
    for _ in range(5):
        resend(pat.service.actor("eve"), email=pat.email)
    assert confirm_by_link(pat, pat.get_mailed_token()).status_code == 200


def test_resend_within_a_minute_gives_no_more_attempts(pat):
    code = pat.mail()["code"]
    for number in range(5):
        attacker = pat.service.actor("eve")
        assert (
            attacker.post(
                "/v1/register/confirm", {"registration": pat.registration, "code": "BBBB-BBBB"}
            ).status_code
            == 400
        )
        if number == 2:
            resend(attacker, registration=pat.registration)
    assert pat.confirm(code=code).status_code == 400


def test_recipient_gets_one_email_a_minute_in_any_spelling(service):
    answers = [
        service.actor(f"name{number}", email=email).register()
        for number, email in enumerate(["ann@example.org", "ANN@Example.org"])
    ]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert len(service.mailbox()) == 1
    service.actor("bob").register()
    assert len(service.mailbox("bob@example.org")) == 1, "another email address has its own limit"


def test_existing_account_email_is_sent_once_a_minute(service):
    service.actor("ann").sign_up()
    for number in range(3):
        assert service.actor(f"eve{number}", email="ann@example.org").register().status_code == 202
        assert resend(service.actor(), email="ann@example.org").status_code == 202
    templates = [mail["template"] for mail in service.mailbox()]
    assert templates == ["already_registered", "confirm_new"]


def test_suppressed_email_leaves_the_same_rows_as_a_sent_one(service):
    def count_rows() -> dict[str, int]:
        return {
            table: service.scalar(f"SELECT count(*) FROM {table}")
            for table in ("outbox", "confirmations", "audit")
        }

    service.actor("pat").register()
    grown = []
    for email in ("pat@example.org", "nobody@example.org"):
        before = count_rows()
        resend(service.actor(), email=email)
        grown.append({table: count - before[table] for table, count in count_rows().items()})
    assert grown[0] == grown[1] == {"outbox": 1, "confirmations": 1, "audit": 1}
    assert (
        service.scalar("SELECT count(*) FROM outbox WHERE state = 'withheld' AND sealed IS NULL")
        == 2
    )


# Request format.


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/registration"}),
        ({"registration": "reg_1", "email": "ann@example.org"}, {"/registration"}),
        ({"email": "ann"}, {"/email"}),
        ({"email": "ann@example.org\r\nBcc: eve@example.org"}, {"/email"}),
        ({"email": "a" * 300 + "@example.org"}, {"/email"}),
        ({"email": ["ann@example.org"]}, {"/email"}),
        ({"email": "ann@example.org\0"}, {"/email"}),
        ({"email": ""}, {"/email"}),
        ({"registration": ""}, {"/registration"}),
        ({"registration": 7}, {"/registration"}),
        ({"registration": "reg_1", "to": "eve@example.org"}, {"/to"}),
    ],
)
def test_resend_takes_either_a_handle_or_an_email(shared_service, body, pointers):
    answer = resend(shared_service.actor(), **body)
    assert answer.status_code == 422
    assert set(answer.json["errors"]) == pointers
    assert shared_service.scalar("SELECT count(*) FROM outbox") == 0
