"""The first administrator.

A link from the command line, valid for an hour, once, while there is no administrator.
"""

from __future__ import annotations

import base64
import json
import re

import pytest
from sqlalchemy import text

from tests.actors import PASSWORD
from tests.cli_runner import run_cli
from tests.live import run_command

LINK = re.compile(r"http://127\.0\.0\.1:8080/confirm/(dwb_[0-9A-Za-z]{22}_[0-9A-Za-z]{49})\n")


# Behavior that depends on the database runs on both.
on_both_databases = pytest.mark.parametrize(
    "service", ["sqlite_url", "empty_postgres_url"], indirect=True
)


@pytest.fixture
def service(request, make_service):
    return make_service(request.getfixturevalue(getattr(request, "param", "sqlite_url")))


@pytest.fixture
def bootstrap(service):
    """Run the command."""

    def bootstrap(username="boss", email="boss@example.org", **env):
        words = ("bootstrap-admin", "--username", username, "--email", email)
        return run_cli(*words, DOORWARD_DATABASE_URL=service.settings.database_url, **env)

    return bootstrap


@pytest.fixture
def invite(bootstrap):
    """Run the command and return the token in the link."""

    def invite(*args):
        result = bootstrap(*args)
        assert result.returncode == 0, result.stderr
        return LINK.fullmatch(result.stdout)[1]

    return invite


def open_link(boss, token):
    return boss.post("/v1/register/confirm", {"token": token, "password": PASSWORD})


def read_claims(access_token):
    payload = access_token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def list_roles(service):
    with service.open_database() as db:
        return db.execute(
            text(
                "SELECT username, role FROM account_roles JOIN accounts ON accounts.id = account_id"
            )
        ).all()


@on_both_databases
def test_link_opens_a_page_that_creates_the_administrator(service, invite):
    boss, token = service.actor("boss"), invite()
    page = boss.get(f"/confirm/{token}")
    assert page.status_code == 200
    assert "boss" in page.text
    assert list_roles(service) == []
    assert boss.call("POST", f"/confirm/{token}", data={"password": PASSWORD}).status_code == 200
    assert list_roles(service) == [("boss", "admin")]

    tokens = boss.login().json
    assert tokens["account"]["roles"] == ["admin"]
    assert read_claims(tokens["access_token"])["roles"] == ["admin"]
    assert read_claims(tokens["access_token"])["rv"] == 1
    assert boss.whoami().json["roles"] == ["admin"]
    assert boss.get("/v1/me", token=boss.access).json["roles"] == ["admin"]
    assert boss.refresh().json["account"]["roles"] == ["admin"]


def test_link_works_through_the_api_too(service, invite):
    boss, token = service.actor("boss"), invite()
    answer = open_link(boss, token)
    assert answer.status_code == 200
    assert answer.json["account"]["roles"] == ["admin"]
    assert open_link(boss, token).status_code == 400


def test_no_other_account_gets_a_role(service, invite):
    ann = service.actor("ann").sign_in()
    open_link(service.actor("boss"), invite())
    assert ann.tokens["account"]["roles"] == []
    assert ann.whoami().json["roles"] == []


def test_weak_password_keeps_the_link_valid(service, invite):
    boss, token = service.actor("boss"), invite()
    assert (
        boss.post("/v1/register/confirm", {"token": token, "password": "short"}).status_code == 422
    )
    assert open_link(boss, token).status_code == 200


@on_both_databases
def test_second_bootstrap_is_refused(service, bootstrap, invite):
    open_link(service.actor("boss"), invite())
    result = bootstrap("other", "other@example.org")
    assert result.returncode == 1
    assert result.stdout == ""
    assert "There is already an administrator" in result.stderr


@on_both_databases
def test_newer_link_invalidates_the_older_one(service, invite):
    boss, older, newer = service.actor("boss"), invite(), invite("chief", "chief@example.org")
    assert boss.get(f"/confirm/{older}").status_code == 400
    assert open_link(boss, older).status_code == 400
    assert open_link(boss, newer).status_code == 200
    assert list_roles(service) == [("chief", "admin")]


def test_the_same_command_again_makes_a_new_link(service, invite):
    boss, older, newer = service.actor("boss"), invite(), invite()
    assert open_link(boss, older).status_code == 400
    assert open_link(boss, newer).status_code == 200


def test_link_expires_after_an_hour(service, invite):
    boss, token = service.actor("boss"), invite()
    service.clock.push(minutes=59)
    assert boss.get(f"/confirm/{token}").status_code == 200
    service.clock.push(minutes=2)
    assert boss.get(f"/confirm/{token}").status_code == 400
    assert open_link(boss, token).status_code == 400
    assert list_roles(service) == []


@on_both_databases
def test_link_is_invalid_once_an_administrator_exists(service, invite):
    ann, boss, token = service.actor("ann").sign_up(), service.actor("boss"), invite()
    # No request can create an administrator yet.
    service.scalar(
        "INSERT INTO account_roles SELECT id, 'admin', created_at FROM accounts WHERE username = 'ann' RETURNING role"
    )
    assert boss.get(f"/confirm/{token}").status_code == 400
    assert open_link(boss, token).status_code == 400
    assert boss.login().status_code == 401
    assert list_roles(service) == [(ann.username, "admin")]


@pytest.mark.parametrize(
    ("username", "email", "message"),
    [("ann", "new@example.org", "username"), ("new", "Ann@Example.org", "email address")],
)
def test_taken_name_or_email_is_refused(service, bootstrap, username, email, message):
    service.actor("ann").sign_up()
    result = bootstrap(username, email)
    assert result.returncode == 1
    assert result.stdout == ""
    assert f"An account with this {message} already exists" in result.stderr


@pytest.mark.parametrize(
    ("username", "email", "message"),
    [("no", "new@example.org", "The username"), ("boss", "nowhere", "The email address")],
)
def test_invalid_name_is_refused(bootstrap, username, email, message):
    result = bootstrap(username, email)
    assert result.returncode == 1
    assert message in result.stderr


def test_only_the_operator_can_take_the_name_admin(service, invite):
    assert service.actor("admin").register().status_code == 422
    admin = service.actor("admin")
    assert (
        open_link(admin, invite("Admin", "boss@example.org")).json["account"]["username"] == "admin"
    )
    assert admin.login().status_code == 200


@on_both_databases
def test_operator_takes_precedence_over_a_registration_of_the_name(service, invite):
    squatter, boss = service.actor("boss", email="squatter@example.org"), service.actor("boss")
    squatter.register()
    token = invite()
    assert squatter.confirm().status_code == 400
    assert (
        squatter.post(
            "/v1/register/confirm", {"token": squatter.get_mailed_token(), "password": PASSWORD}
        ).status_code
        == 400
    )
    assert squatter.register().status_code == 409
    assert open_link(boss, token).status_code == 200


def test_bootstrap_sends_no_email(service, invite):
    boss, token = service.actor("boss"), invite()
    assert boss.post("/v1/register/resend", {"email": boss.email}).status_code == 202
    registration = service.scalar("SELECT id FROM pending_registrations")
    assert boss.post("/v1/register/resend", {"registration": registration}).status_code == 202
    assert service.mailbox(boss.email) == []
    boss.registration = registration
    assert (
        boss.post(
            "/v1/register/confirm",
            {"registration": registration, "code": "BCDF-GHJK", "password": PASSWORD},
        ).status_code
        == 400
    )
    assert open_link(boss, token).status_code == 200


def test_link_of_another_purpose_is_refused(service, invite):
    ann = service.actor("ann")
    ann.register()
    invite()
    answer = ann.post(
        "/v1/register/confirm", {"token": ann.get_mailed_token(), "password": PASSWORD}
    )
    assert answer.status_code == 200
    assert answer.json["account"]["roles"] == []
    assert list_roles(service) == []


def test_secret_appears_in_the_link_alone(service):
    words = ("bootstrap-admin", "--username", "boss", "--email", "boss@example.org")
    result = run_command(*words, env={"DOORWARD_DATABASE_URL": service.settings.database_url})
    assert result.returncode == 0, result.stderr
    token = LINK.fullmatch(result.stdout)[1]
    assert token not in result.stderr
    with service.open_database() as db:
        tables = ("confirmations", "pending_registrations", "audit", "outbox")
        kept = [str(row) for table in tables for row in db.execute(text(f"SELECT * FROM {table}"))]
    assert not any(token in row or token.rpartition("_")[2] in row for row in kept)


def test_invitation_and_grant_are_audited(service, invite):
    open_link(service.actor("boss"), invite())
    with service.open_database() as db:
        events = db.execute(
            text(
                "SELECT event, account_id, source FROM audit WHERE event NOT LIKE 'signing_key%' ORDER BY id"
            )
        ).all()
        account_id = db.execute(text("SELECT id FROM accounts")).scalar_one()
    assert [event for event, _, _ in events] == [
        "first_admin.invited",
        "account.confirmed",
        "role.granted",
    ]
    assert events[2].account_id == account_id
    assert events[2].source


def test_link_uses_the_public_url_setting(bootstrap):
    result = bootstrap(DOORWARD_LINK_CONFIRM="https://app.example.org/welcome/{token}")
    assert result.stdout.startswith("https://app.example.org/welcome/dwb_")


def test_a_database_without_the_schema_is_named(tmp_path):
    words = ("bootstrap-admin", "--username", "boss", "--email", "boss@example.org")
    result = run_cli(*words, DOORWARD_DATABASE_URL=f"sqlite:///{tmp_path}/empty.db")
    assert result.returncode == 3
    assert "db upgrade" in result.stderr


def test_administrator_session_is_short(service, invite):
    boss = service.actor("boss")
    open_link(boss, invite())
    assert boss.login(password=PASSWORD).json["refresh_expires_in"] == 3600
    assert boss.refresh().json["refresh_expires_in"] <= 3600
    service.clock.push(minutes=61)
    assert boss.refresh(boss.tokens["refresh_token"]).status_code == 400
