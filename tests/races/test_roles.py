"""Rights under concurrent requests.

An administrator remains, members have one level, and no grant exceeds the granter's level.
"""

from __future__ import annotations

import itertools
import threading

import pytest
from sqlalchemy import create_engine, text

from app.authorization.memberships.manage import grant_membership
from app.authorization.roles.assign import add_role
from app.principal import ClientInfo, CredentialKind, Principal
from tests.actors import PASSWORD
from tests.live import build_raw_post, send_simultaneously
from tests.slow import LONG

NUMBERS = itertools.count()
NOBODY = ClientInfo(address="", bucket="", user_agent="", request_id="", locale="en")
ROUNDS = 6 if LONG else 3


@pytest.fixture
def service(make_service, database_url):
    return make_service(database_url)


def build_request(method: str, path: str, token: str, body: object = None) -> bytes:
    """Build a request with another method from a POST."""
    return build_raw_post(
        path, body if body is not None else {}, {"Authorization": f"Bearer {token}"}
    ).replace(b"POST", method.encode(), 1)


def create_account(live) -> tuple[str, str]:
    """Create an account for each race and return its id."""
    name = f"rights{next(NUMBERS)}"
    email = f"{name}@example.org"
    answer = live.call(
        "POST",
        "/v1/register",
        {"username": name, "email": email, "name": "Racer", "password": PASSWORD},
    )[1]
    code = live.mailbox(email)[0]["code"]
    response = live.call(
        "POST", "/v1/register/confirm", {"registration": answer["registration"], "code": code}
    )[1]
    return name, response["account"]["id"]


def sign_in(live, name: str) -> str:
    return live.call("POST", "/v1/login", {"username": name, "password": PASSWORD})[1][
        "access_token"
    ]


def make_admin(live, account_id: str) -> None:
    """Insert the role, because the first administrator needs the command line."""
    engine = create_engine(live.env["DOORWARD_DATABASE_URL"])
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO account_roles (account_id, role, granted_at) SELECT id, 'admin', created_at FROM accounts WHERE id = :id"
            ),
            {"id": account_id},
        )
        connection.execute(
            text("UPDATE accounts SET roles_version = roles_version + 1 WHERE id = :id"),
            {"id": account_id},
        )
    engine.dispose()


def list_admins(live) -> set[str]:
    engine = create_engine(live.env["DOORWARD_DATABASE_URL"])
    with engine.connect() as connection:
        found = set(
            connection.execute(
                text("SELECT account_id FROM account_roles WHERE role = 'admin'")
            ).scalars()
        )
    engine.dispose()
    return found


def remove_admins(live) -> None:
    engine = create_engine(live.env["DOORWARD_DATABASE_URL"])
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM account_roles WHERE role = 'admin'"))
        connection.execute(text("UPDATE accounts SET roles_version = roles_version + 1"))
    engine.dispose()


@pytest.fixture
def _without_admins(live):
    """Remove the role from administrators of other races."""
    remove_admins(live)
    yield
    remove_admins(live)


@pytest.mark.usefixtures("_without_admins")
def test_administrators_removing_each_other_leave_one(live):
    two = [create_account(live) for _ in range(2)]
    tokens = {}
    for _ in range(ROUNDS):
        for name, account_id in two:
            if account_id not in list_admins(live):
                make_admin(live, account_id)
            tokens[account_id] = sign_in(live, name)
        (_, one), (_, other) = two
        crossed = [
            build_request("DELETE", f"/v1/accounts/{other}/roles/admin", tokens[one]),
            build_request("DELETE", f"/v1/accounts/{one}/roles/admin", tokens[other]),
            build_request("DELETE", f"/v1/accounts/{one}/roles/admin", tokens[one]),
            build_request("DELETE", f"/v1/accounts/{other}/roles/admin", tokens[other]),
        ]
        answers = send_simultaneously(live.port, crossed)
        assert {status for status, _ in answers} <= {204, 403, 409}, answers
        assert sum(status == 204 for status, _ in answers) >= 1
        assert len(list_admins(live) & {one, other}) == 1


@pytest.mark.usefixtures("_without_admins")
def test_concurrent_grants_are_atomic_and_the_last_wins(live):
    boss, target = create_account(live), create_account(live)
    make_admin(live, boss[1])
    token = sign_in(live, boss[0])
    path = f"/v1/memberships/list/{target[0]}/{target[1]}"
    levels = ["invitee", "member", "manager", "secret"] * 4
    answers = send_simultaneously(
        live.port, [build_request("PUT", path, token, {"level": level}) for level in levels]
    )
    response = (
        {204} if "postgresql" in live.env["DOORWARD_DATABASE_URL"] else {204, 503}
    )  # SQLite has one writer, so a slow machine times out
    assert 204 in {status for status, _ in answers} <= response, answers
    (item,) = live.call(
        "GET", f"/v1/memberships/list/{target[0]}", headers={"Authorization": f"Bearer {token}"}
    )[1]["items"]
    assert item["level"] in levels
    mixed = [
        build_request("PUT", path, token, {"level": "member"}),
        build_request("DELETE", path, token),
    ] * 4
    assert 204 in {status for status, _ in send_simultaneously(live.port, mixed)} <= response


@pytest.mark.usefixtures("_without_admins")
def test_managers_removing_each_other_do_not_deadlock(live):
    boss, ann, bob = create_account(live), create_account(live), create_account(live)
    make_admin(live, boss[1])
    token = sign_in(live, boss[0])
    thing = f"/v1/memberships/list/{ann[0]}"
    tokens = {one[1]: sign_in(live, one[0]) for one in (ann, bob)}
    for _ in range(ROUNDS):
        for one in (ann, bob):
            assert (
                live.call(
                    "PUT",
                    f"{thing}/{one[1]}",
                    {"level": "manager"},
                    {"Authorization": f"Bearer {token}"},
                )[0]
                == 204
            )
        crossed = [
            build_request("DELETE", f"{thing}/{bob[1]}", tokens[ann[1]]),
            build_request("DELETE", f"{thing}/{ann[1]}", tokens[bob[1]]),
        ]
        answers = send_simultaneously(live.port, crossed)
        # The second one is no longer a manager when it gets the lock, so one of them stays.
        assert sorted(status for status, _ in answers) == [204, 403], answers


def test_downgraded_manager_grants_nothing_more(service):
    """The grant waits for the row of the granter and then sees the downgrade.

    Two connections, one waiting for the other's lock.
    """
    if service.settings.uses_sqlite:
        pytest.skip("a writer has the whole database, so nothing can come between")
    boss, ann, bob = (service.actor(name).sign_in() for name in ("boss", "ann", "bob"))
    ids = [actor.tokens["account"]["id"] for actor in (boss, ann, bob)]
    with service.units.open_read_write() as work:
        add_role(work, NOBODY, account_id=ids[0], role="admin")
    boss.login()
    path = f"/v1/memberships/list/7/{ids[1]}"
    assert boss.call("PUT", path, json={"level": "manager"}, token=boss.access).status_code == 204
    answers = []
    asking = threading.Thread(
        target=lambda: answers.append(
            ann.call(
                "PUT",
                f"/v1/memberships/list/7/{ids[2]}",
                json={"level": "manager"},
                token=ann.access,
            ).status_code
        )
    )
    principal = Principal(
        ids[0], "boss", CredentialKind.SESSION, "", None, None, scopes=("memberships:write:list",)
    )
    with service.units.open_read_write() as work:
        grant_membership(
            work,
            principal,
            NOBODY,
            resource="list",
            resource_id="7",
            account_id=ids[1],
            level="member",
        )
        work.db.flush()
        asking.start()
        asking.join(0.4)
        assert not answers  # it waits for ann's row
    asking.join(10)
    assert answers == [403]
    assert service.scalar("SELECT count(*) FROM memberships") == 1
