"""Confirmation of an email address by the emailed link or code."""

from __future__ import annotations

import shutil

import pytest
from sqlalchemy import text

from app.confirmations.errors import InvalidToken
from app.opaque_tokens import generate_id, generate_token
from tests.actors import PASSWORD, Service, build_settings

FIRST = "the password of the one who registered"
CHOSEN = "the password of the one who reads the mail"
WRONG_CODE = "BBBB-BBBB"


def confirm_by_link(actor, token: str, password: str | None = CHOSEN):
    body = {"token": token} | ({"password": password} if password is not None else {})
    return actor.post("/v1/register/confirm", body)


def confirm_by_code(actor, code: str, **more):
    return actor.post(
        "/v1/register/confirm", {"registration": actor.registration, "code": code, **more}
    )


def count_accounts(service) -> int:
    return service.scalar("SELECT count(*) FROM accounts")


def assert_refused(answer) -> None:
    """Return the response to every invalid token and code."""
    assert answer.status_code == 400, answer.text
    assert answer.content_type == "application/problem+json"
    assert {name: value for name, value in answer.json.items() if name != "request_id"} == {
        "type": "urn:doorward:problem:invalid_token",
        "title": InvalidToken.title,
        "status": 400,
        "code": "invalid_token",
        "detail": InvalidToken().detail,
    }


@pytest.fixture(scope="module")
def shared_service(sqlite_template, tmp_path_factory):
    """A shared service for requests that store nothing, each from its own IP address."""
    path = tmp_path_factory.mktemp("untouched") / "doorward.db"
    shutil.copy(sqlite_template, path)
    service = Service(build_settings(f"sqlite:///{path}"))
    yield service
    service.close()


def register_pat(service):
    pat = service.actor("pat", password=FIRST)
    pat.register()
    return pat


@pytest.fixture
def pat(service):
    """A user who registered with a password and received an email."""
    return register_pat(service)


@pytest.fixture
def sqlite_pat(sqlite_service):
    """The same user on SQLite."""
    return register_pat(sqlite_service)


# Which password is used.


def test_link_requires_a_new_password_and_drops_the_registered_one(pat):
    answer = confirm_by_link(pat, pat.get_mailed_token())
    assert answer.status_code == 200
    assert answer.json == {
        "account": {
            "id": answer.json["account"]["id"],
            "username": "pat",
            "name": "Pat",
            "roles": [],
        }
    }
    assert pat.login().status_code == 401
    assert pat.login(password=CHOSEN).status_code == 200


def test_link_without_a_password_does_nothing_and_stays_valid(pat):
    answer = confirm_by_link(pat, pat.get_mailed_token(), password=None)
    assert answer.status_code == 422
    assert set(answer.json["errors"]) == {"/password"}
    assert count_accounts(pat.service) == 0
    assert confirm_by_link(pat, pat.get_mailed_token()).status_code == 200


@pytest.mark.parametrize("password", ["short", "a" * 129, "a line\nbreak in the password", ""])
def test_rejected_password_keeps_the_link_valid(sqlite_pat, password):
    answer = confirm_by_link(sqlite_pat, sqlite_pat.get_mailed_token(), password=password)
    assert answer.status_code == 422
    assert set(answer.json["errors"]) == {"/password"}
    assert count_accounts(sqlite_pat.service) == 0
    assert confirm_by_link(sqlite_pat, sqlite_pat.get_mailed_token()).status_code == 200


def test_code_keeps_the_password_given_at_registration(pat):
    answer = confirm_by_code(pat, pat.mail()["code"])
    assert answer.status_code == 200
    assert set(answer.json) == {"account"}
    assert set(answer.json["account"]) == {"id", "username", "name", "roles"}
    assert pat.login().status_code == 200


def test_code_cannot_replace_the_password(pat):
    code = pat.mail()["code"]
    answer = confirm_by_code(pat, code, password=CHOSEN)
    assert answer.status_code == 422
    assert set(answer.json["errors"]) == {"/password"}
    assert confirm_by_code(pat, code).status_code == 200
    assert pat.login(password=CHOSEN).status_code == 401
    assert pat.login().status_code == 200


def test_code_requires_a_password_when_none_was_registered(service):
    ann = service.actor(password=CHOSEN)
    ann.register(password=None)
    code = ann.mail()["code"]
    for body in ({}, {"password": "short"}):
        answer = confirm_by_code(ann, code, **body)
        assert answer.status_code == 422
        assert set(answer.json["errors"]) == {"/password"}
        assert count_accounts(service) == 0
    assert confirm_by_code(ann, code, password=CHOSEN).status_code == 200
    assert ann.login().status_code == 200


def test_wrong_code_is_refused_before_the_password_is_validated(service):
    """A 422 would reveal that the code is right."""
    ann = service.actor()
    ann.register(password=None)
    assert_refused(confirm_by_code(ann, WRONG_CODE))
    assert_refused(confirm_by_code(ann, WRONG_CODE, password="short"))


def test_confirming_does_not_sign_in(pat):
    answer = confirm_by_code(pat, pat.mail()["code"])
    assert "token" not in answer.text
    assert "Set-Cookie" not in answer.headers
    assert pat.service.scalar("SELECT count(*) FROM sessions") == 0


# Single use.


def test_link_works_once_and_invalidates_the_code(pat):
    token, code = pat.get_mailed_token(), pat.mail()["code"]
    assert confirm_by_link(pat, token).status_code == 200
    assert_refused(confirm_by_link(pat, token))
    assert_refused(confirm_by_link(pat, token, "another password of the same one"))
    assert_refused(confirm_by_code(pat, code))
    assert pat.login(password=CHOSEN).status_code == 200


def test_code_works_once_and_invalidates_the_link(pat):
    token, code = pat.get_mailed_token(), pat.mail()["code"]
    assert confirm_by_code(pat, code).status_code == 200
    assert_refused(confirm_by_code(pat, code))
    assert_refused(confirm_by_link(pat, token))
    assert pat.get(f"/confirm/{token}").status_code == 400
    assert pat.login().status_code == 200


def test_first_to_confirm_an_email_address_gets_it(service):
    squatter = service.actor("squatter", email="ann@example.org", password=FIRST)
    squatter.register()
    squatted, squatters_code = squatter.get_mailed_token(), squatter.mail()["code"]
    service.units.limiter.reset()
    ann = service.actor("ann")
    ann.register()
    assert confirm_by_link(ann, ann.get_mailed_token()).status_code == 200

    assert_refused(confirm_by_code(squatter, squatters_code))
    assert_refused(confirm_by_link(squatter, squatted))
    assert count_accounts(service) == 1
    assert squatter.login().status_code == 401
    assert squatter.login(username="ann@example.org").status_code == 401
    assert ann.login(password=CHOSEN).status_code == 200


def test_owner_following_a_squatters_link_locks_the_squatter_out(service):
    squatter = service.actor("squatter", email="ann@example.org", password=FIRST)
    squatter.register()
    assert confirm_by_link(service.actor("ann"), squatter.get_mailed_token()).status_code == 200
    assert squatter.login().status_code == 401
    assert service.actor("ann@example.org", password=CHOSEN).login().status_code == 200


def test_unconfirmed_squatter_does_not_block_the_email_address(service):
    for number in range(3):
        service.actor(f"squatter{number}", email="ann@example.org").register()
        service.units.limiter.reset()
    ann = service.actor("ann").sign_up()
    assert ann.login().status_code == 200


# Expiry.


def test_link_is_valid_for_a_day(pat):
    token = pat.get_mailed_token()
    pat.service.clock.push(hours=23, minutes=59)
    assert pat.get(f"/confirm/{token}").status_code == 200
    assert confirm_by_link(pat, token).status_code == 200


def test_link_expires_after_a_day(pat):
    token = pat.get_mailed_token()
    pat.service.clock.push(hours=24, seconds=1)
    assert pat.get(f"/confirm/{token}").status_code == 400
    assert_refused(confirm_by_link(pat, token))
    assert count_accounts(pat.service) == 0


def test_code_is_valid_for_30_minutes(pat):
    pat.service.clock.push(minutes=29, seconds=50)
    assert confirm_by_code(pat, pat.mail()["code"]).status_code == 200


def test_code_expires_after_30_minutes_and_the_link_does_not(pat):
    pat.service.clock.push(minutes=30, seconds=1)
    assert_refused(confirm_by_code(pat, pat.mail()["code"]))
    assert confirm_by_link(pat, pat.get_mailed_token()).status_code == 200


def test_link_is_invalid_after_its_name_was_taken(pat):
    token = pat.get_mailed_token()
    pat.service.clock.push(hours=24, seconds=1)
    pat.service.units.limiter.reset()
    other = pat.service.actor("pat", email="other@example.org")
    assert other.register().status_code == 202
    assert_refused(confirm_by_link(pat, token))
    assert other.confirm().status_code == 200


# Guessing.


def test_after_five_wrong_codes_the_right_one_fails_and_the_link_still_works(pat):
    code = pat.mail()["code"]
    for number in range(5):
        attacker = pat.service.actor("guesser", address=f"10.9.0.{number}")
        attacker.registration = pat.registration
        assert_refused(confirm_by_code(attacker, WRONG_CODE))
    assert_refused(confirm_by_code(pat, code))
    assert count_accounts(pat.service) == 0
    assert confirm_by_link(pat, pat.get_mailed_token()).status_code == 200


def test_fifth_attempt_can_still_succeed(pat):
    for _ in range(4):
        assert_refused(confirm_by_code(pat, WRONG_CODE))
    assert confirm_by_code(pat, pat.mail()["code"]).status_code == 200


@pytest.mark.parametrize(
    "spelled",
    [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code.replace('-', ' ')} "],
)
def test_a_code_may_be_typed_in_any_case_with_or_without_its_dash(sqlite_pat, spelled):
    assert confirm_by_code(sqlite_pat, spelled(sqlite_pat.mail()["code"])).status_code == 200


def test_code_confirms_only_its_own_registration(service):
    ann, eve = service.actor("ann"), service.actor("eve")
    ann.register()
    eve.register()
    assert_refused(confirm_by_code(ann, eve.mail()["code"]))
    assert_refused(confirm_by_code(eve, ann.mail()["code"]))
    assert count_accounts(service) == 0


@pytest.mark.parametrize(
    "registration", ["junk", "reg_" + "0" * 22, "cnf_" + "0" * 22, "reg_%", "' OR 1=1 --", "\u00e4"]
)
def test_unknown_handle_is_refused_like_a_wrong_code(sqlite_pat, registration):
    code = sqlite_pat.mail()["code"]
    assert_refused(
        sqlite_pat.post("/v1/register/confirm", {"registration": registration, "code": code})
    )
    assert confirm_by_code(sqlite_pat, code).status_code == 200


def _build_broken_tokens(token: str) -> dict[str, str]:
    head, secret = token.rsplit("_", 1)
    return {
        "junk": "junk",
        "a handle": "reg_" + "0" * 22,
        "one of nobody": generate_token("dwc", generate_id("cnf")).token,
        "another secret of the same row": generate_token("dwc", "cnf_" + token.split("_")[1]).token,
        "another prefix": generate_token("dwr", "cnf_" + token.split("_")[1]).token,
        "the checksum wrong": token[:-1] + ("0" if token[-1] != "0" else "1"),
        "the checksum missing": token[:-6],
        "the secret changed": f"{head}_{'b' if secret[0] != 'b' else 'c'}{secret[1:]}",
        "the case changed": token.swapcase(),
        "a line break after": token + "\n",
        "a letter after": token + "0",
        "a wildcard": "dwc_%",
    }


@pytest.mark.parametrize(
    "fault", list(_build_broken_tokens(generate_token("dwc", generate_id("cnf")).token))
)
def test_wrong_token_is_refused_and_consumes_nothing(sqlite_pat, fault):
    token = sqlite_pat.get_mailed_token()
    assert _build_broken_tokens(token)[fault] != token
    assert_refused(confirm_by_link(sqlite_pat, _build_broken_tokens(token)[fault]))
    assert sqlite_pat.get(f"/confirm/{_build_broken_tokens(token)[fault].strip()}").status_code == (
        200 if fault == "a line break after" else 400
    )
    assert count_accounts(sqlite_pat.service) == 0
    assert confirm_by_link(sqlite_pat, token).status_code == 200


def test_a_token_of_another_purpose_confirms_nothing(pat):
    token = pat.get_mailed_token()
    with pat.service.open_database() as db:
        assert db.execute(text("UPDATE confirmations SET purpose = 'reset'")).rowcount == 1
    assert_refused(confirm_by_link(pat, token))
    with pat.service.open_database() as db:
        db.execute(text("UPDATE confirmations SET purpose = 'registration'"))
    assert confirm_by_link(pat, token).status_code == 200


def test_code_issued_under_an_older_secret_key_still_works(make_service, database_url):
    older, newer = "an older key of the service 0123456789", "a newer key of the service 0123456789"
    pat = make_service(database_url, secret_key=(older,)).actor("pat", password=FIRST)
    pat.register()
    code = pat.mail()["code"]
    pat.service = make_service(database_url, secret_key=(newer, older))
    assert confirm_by_code(pat, code).status_code == 200


# Request format.


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/token"}),
        ({"password": CHOSEN}, {"/token"}),
        ({"registration": "reg_1"}, {"/token"}),
        ({"code": WRONG_CODE}, {"/token"}),
        (
            {"token": "dwc_1", "registration": "reg_1", "code": WRONG_CODE, "password": CHOSEN},
            {"/token"},
        ),
        ({"token": "dwc_1", "code": WRONG_CODE, "password": CHOSEN}, {"/token"}),
        ({"token": "", "password": CHOSEN}, {"/token"}),
        ({"token": 7, "password": CHOSEN}, {"/token"}),
        ({"token": ["dwc_1"], "password": CHOSEN}, {"/token"}),
        ({"token": "a" * 1000, "password": CHOSEN}, {"/token"}),
        ({"token": "dwc_\0", "password": CHOSEN}, {"/token"}),
        ({"registration": "reg_1", "code": 12345678}, {"/code"}),
        ({"registration": "reg_1", "code": "B" * 100}, {"/code"}),
        ({"registration": 1, "code": WRONG_CODE}, {"/registration"}),
        ({"registration": "reg_1", "code": WRONG_CODE, "username": "root"}, {"/username"}),
    ],
)
def test_a_confirmation_is_either_token_and_password_or_handle_and_code(
    shared_service, body, pointers
):
    answer = shared_service.actor().post("/v1/register/confirm", body)
    assert answer.status_code == 422
    assert answer.json["code"] == "validation_failed"
    assert set(answer.json["errors"]) == pointers


def test_account_has_the_registered_values(service):
    ann = service.actor(password=PASSWORD)
    ann.register(name="Ann \u00c5ngstr\u00f6m", locale="de-AT")
    assert ann.confirm().json["account"]["name"] == "Ann \u00c5ngstr\u00f6m"
    ann.login()
    account = ann.get("/v1/me", token=ann.access).json["account"]
    assert (account["email"], account["locale"], account["timezone"], account["metadata"]) == (
        ann.email,
        "de-AT",
        "UTC",
        {},
    )
