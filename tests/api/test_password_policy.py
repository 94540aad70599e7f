"""Password rules: rejected passwords, their reasons in each language, and suggestions."""

from __future__ import annotations

import pytest

from app.authentication.passwords.messages import describe_reason
from app.authentication.passwords.normalize import RejectionReason
from tests.actors import PASSWORD

COMMON = "qwertyuiop12345"
GERMAN = {"Accept-Language": "de-AT, en;q=0.5"}


def confirm_by_link(actor, password: str, **kwargs):
    return actor.post(
        "/v1/register/confirm", {"token": actor.get_mailed_token(), "password": password}, **kwargs
    )


def confirm_by_code(actor, password: str, **kwargs):
    body = {"registration": actor.registration, "code": actor.mail()["code"], "password": password}
    return actor.post("/v1/register/confirm", body, **kwargs)


def register(actor, password: str, **kwargs):
    body = {
        "username": actor.username,
        "email": actor.email,
        "name": "Ann Lee",
        "password": password,
    }
    return actor.post("/v1/register", body, **kwargs)


WAYS = {"link": confirm_by_link, "code": confirm_by_code, "registration": register}


@pytest.fixture(params=WAYS)
def choose(request, sqlite_service):
    """Return ways to set a password for ann."""
    ann = sqlite_service.actor("ann")
    if request.param != "registration":
        ann.register(password=None, name="Ann Lee")
    return lambda password, **kwargs: WAYS[request.param](ann, password, **kwargs)


def assert_refused(answer, *reasons: RejectionReason, locale: str = "en") -> list[str]:
    """Return the suggestions of a 422 with exactly these reasons."""
    assert answer.status_code == 422
    assert answer.json["code"] == "validation_failed"
    assert answer.json["reasons"] == list(reasons)
    assert answer.json["errors"] == {
        "/password": [describe_reason(reason, locale, min_length=15) for reason in reasons]
    }
    assert len(set(answer.json["suggestions"])) == 3
    return answer.json["suggestions"]


@pytest.mark.parametrize(
    ("password", "reasons"),
    [
        ("short", [RejectionReason.TOO_SHORT]),
        ("", [RejectionReason.TOO_SHORT]),
        ("a long sentence " * 9, [RejectionReason.TOO_LONG]),
        ("a long sentence " * 100, [RejectionReason.TOO_LONG]),
        ("correct horse\nbattery staple", [RejectionReason.CONTROL_CHARACTERS]),
        (COMMON, [RejectionReason.COMMON, RejectionReason.SEQUENCE]),
        ("x7Kq, x7Kq, x7Kq", [RejectionReason.REPETITION]),
        ("abcdefg, hijklmnop!", [RejectionReason.SEQUENCE]),
        ("Ann Lee 7391 8264", [RejectionReason.PERSONAL]),
        ("doorward@127.0.0.1", [RejectionReason.PERSONAL]),
    ],
)
def test_reasons_have_codes_and_texts_in_each_language(choose, password, reasons):
    assert_refused(choose(password), *reasons)
    assert_refused(choose(password, headers=GERMAN), *reasons, locale="de")
    assert_refused(choose(password, headers={"Accept-Language": "fr"}), *reasons)
    assert choose(PASSWORD).status_code in {200, 202}


def test_every_suggestion_is_a_password(choose):
    suggestion = assert_refused(choose(COMMON), RejectionReason.COMMON, RejectionReason.SEQUENCE)[1]
    assert choose(suggestion).status_code in {200, 202}


def test_suggested_password_can_be_registered(service):
    ann = service.actor("ann")
    ann.register(password=None)
    suggestions = assert_refused(confirm_by_link(ann, "short"), RejectionReason.TOO_SHORT)
    assert confirm_by_link(ann, suggestions[0]).status_code == 200
    assert ann.login(password=suggestions[0]).status_code == 200
    assert ann.login(password=suggestions[1]).status_code == 401


def test_rejected_password_changes_nothing(service):
    ann = service.actor("ann")
    assert_refused(register(ann, COMMON), RejectionReason.COMMON, RejectionReason.SEQUENCE)
    for table in ("pending_registrations", "outbox", "confirmations", "accounts"):
        assert service.scalar(f"SELECT count(*) FROM {table}") == 0
    ann.register(password=None)
    for _ in range(6):
        assert_refused(
            confirm_by_link(ann, COMMON), RejectionReason.COMMON, RejectionReason.SEQUENCE
        )
    for _ in range(2):
        assert_refused(
            confirm_by_code(ann, COMMON), RejectionReason.COMMON, RejectionReason.SEQUENCE
        )
    assert service.scalar("SELECT tries FROM pending_registrations") == 0
    assert service.scalar("SELECT count(*) FROM accounts") == 0
    assert confirm_by_code(ann, PASSWORD).status_code == 200


def test_suggestions_accompany_errors_of_other_fields(sqlite_service):
    answer = sqlite_service.actor("an").register(email="ann", password=COMMON)
    assert answer.status_code == 422
    assert set(answer.json["errors"]) == {"/username", "/email", "/password"}
    assert answer.json["reasons"] == [RejectionReason.COMMON, RejectionReason.SEQUENCE]
    assert len(answer.json["suggestions"]) == 3


def test_suggestions_appear_nowhere_else(sqlite_service):
    ann = sqlite_service.actor("ann")
    answers = [
        ann.register(email="ann"),
        ann.register(password=7),
        ann.register(),
        confirm_by_link(ann, PASSWORD),
        ann.login(password=COMMON),
    ]
    answers += [ann.post("/v1/register/confirm", {"token": "x", "password": COMMON}), ann.login()]
    assert [answer.status_code for answer in answers] == [422, 422, 202, 200, 401, 400, 200]
    for answer in answers:
        assert not {"suggestions", "reasons"} & set(answer.json)


def test_rejected_passwords_and_suggestions_are_neither_logged_nor_stored(sqlite_service, capsys):
    ann = sqlite_service.actor("ann")
    ann.register(password=None)
    capsys.readouterr()
    secrets = [
        COMMON,
        *assert_refused(
            confirm_by_link(ann, COMMON), RejectionReason.COMMON, RejectionReason.SEQUENCE
        ),
    ]
    secrets += assert_refused(
        register(sqlite_service.actor("bob"), COMMON),
        RejectionReason.COMMON,
        RejectionReason.SEQUENCE,
    )
    logged = "".join(capsys.readouterr())
    assert '"route": "/v1/register/confirm"' in logged
    with sqlite_service.open_database() as db:
        kept = "\n".join(db.connection().connection.driver_connection.iterdump())
    for secret in secrets:
        assert secret not in logged
        assert secret not in kept


def test_service_host_name_is_not_accepted_as_a_password(make_service):
    acme = make_service(public_url="https://login.acme-tools.example", trusted_hosts=("localhost",))
    assert_refused(
        acme.actor("ann").register(password="AcmeTools 7391 82"), RejectionReason.PERSONAL
    )
    assert make_service().actor("ann").register(password="AcmeTools 7391 82").status_code == 202


def test_minimum_length_setting_applies_to_suggestions(make_service):
    demanding = make_service(password_min_length=64)
    answer = demanding.actor("ann").register(password=PASSWORD)
    assert answer.json["reasons"] == [RejectionReason.TOO_SHORT]
    assert all(64 <= len(suggestion) <= 128 for suggestion in answer.json["suggestions"])
    assert (
        demanding.actor("ann").register(password=answer.json["suggestions"][2]).status_code == 202
    )
