"""Concurrent actions of administrators, on each other and on users who are logging in."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from app.server.cleanup import delete_expired_data
from tests.administrators import create_administrator, get_account_id
from tests.slow import LONG

ROUNDS = 4 if LONG else 2
LIMITS = {
    "limit_login": "100000/minute",
    "limit_refresh": "100000/minute",
    "limit_register": "100000/minute",
}


@pytest.fixture
def service(make_service, database_url):
    return make_service(database_url, erase_after=timedelta(), **LIMITS)


def run_simultaneously(*acts: Callable[[], object]) -> list:
    """Run all simultaneously and return their results."""
    gate = threading.Barrier(len(acts))

    def act(one):
        gate.wait()
        return one()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(act, acts))


def send(actor, method, path, body=None) -> int:
    return actor.call(method, path, json=body, token=actor.access).status_code


def count_active_admins(service) -> int:
    sql = "SELECT count(*) FROM accounts JOIN account_roles ON account_id = accounts.id WHERE role = 'admin' AND status = 'active'"
    return service.scalar(sql)


def disable(actor, target) -> int:
    return send(actor, "PATCH", f"/v1/accounts/{get_account_id(target)}", {"status": "disabled"})


def test_two_administrators_removing_each_other_leave_one(service):
    """Covers disabling, deleting, removing the role, and deleting their own accounts."""
    ways = (
        disable,
        lambda who, whom: send(who, "DELETE", f"/v1/accounts/{get_account_id(whom)}"),
        lambda who, whom: send(who, "DELETE", f"/v1/accounts/{get_account_id(whom)}/roles/admin"),
        lambda who, _whom: send(who, "DELETE", "/v1/me"),
    )
    for number, (first, second) in enumerate(
        [
            (ways[0], ways[0]),
            (ways[1], ways[2]),
            (ways[2], ways[0]),
            (ways[3], ways[3]),
            (ways[3], ways[0]),
        ]
    ):
        one, other = (
            create_administrator(service, f"one{number}"),
            create_administrator(service, f"other{number}"),
        )
        service.scalar(
            "DELETE FROM account_roles WHERE account_id NOT IN (:one, :other) RETURNING role",
            one=get_account_id(one),
            other=get_account_id(other),
        )
        answers = run_simultaneously(
            lambda first=first, one=one, other=other: first(one, other),
            lambda second=second, one=one, other=other: second(other, one),
        )
        assert count_active_admins(service) == 1, (number, answers)
        assert len([status for status in answers if status in {200, 204}]) == 1, answers
        assert {401, 403, 409} & set(answers), answers


def test_login_during_a_disable_gains_no_access(service):
    boss = create_administrator(service)
    for number, body in enumerate(
        [{"status": "disabled"}, {"must_change_password": True}, None] * (ROUNDS // 2)
    ):
        ann = service.actor(f"ann{number}").sign_up()
        people = [ann.from_another_address() for _ in range(3)]
        method = "DELETE" if body is None else "PATCH"
        path = f"/v1/accounts/{get_account_id(ann)}"
        run_simultaneously(
            *(person.login for person in people),
            lambda method=method, path=path, body=body: send(boss, method, path, body),
        )
        for person in people:
            if person.tokens:
                assert person.whoami().status_code == 401
                assert person.refresh().status_code == 400
        assert (
            service.scalar(
                "SELECT count(*) FROM sessions WHERE account_id = :id AND status = 'live'",
                id=get_account_id(ann),
            )
            == 0
        )


def test_refresh_during_a_deletion_yields_no_live_token(service):
    boss = create_administrator(service)
    for number in range(ROUNDS):
        ann = service.actor(f"ann{number}").sign_in()
        refreshed, status = run_simultaneously(
            ann.refresh, lambda ann=ann: send(boss, "DELETE", f"/v1/accounts/{get_account_id(ann)}")
        )
        assert status == 204
        if refreshed.status_code == 200:
            ann.tokens = refreshed.json
        assert ann.whoami().status_code == 401
        assert ann.refresh().status_code == 400


def test_concurrent_creations_of_one_account_yield_one(service):
    boss = create_administrator(service)
    bodies = [
        {"username": "carl", "email": f"carl{number}@example.org", "name": "Carl"}
        for number in range(4)
    ]
    bodies += [
        {"username": f"carl{number}", "email": "carl@example.org", "name": "Carl"}
        for number in range(4)
    ]
    answers = run_simultaneously(
        *(lambda body=body: boss.post("/v1/accounts", body, token=boss.access) for body in bodies)
    )
    codes = sorted(answer.json.get("code", "") for answer in answers)
    assert codes == ["", "", *["email_taken"] * 3, *["username_taken"] * 3]


def test_account_is_either_erased_or_restored_and_never_half(service):
    boss = create_administrator(service)
    for number in range(ROUNDS):
        ann = service.actor(f"ann{number}").sign_in()
        account_id = get_account_id(ann)
        assert send(boss, "DELETE", f"/v1/accounts/{account_id}") == 204
        restored, _ = run_simultaneously(
            lambda path=f"/v1/accounts/{account_id}": send(
                boss, "PATCH", path, {"status": "active"}
            ),
            lambda: delete_expired_data(service.units),
        )
        there = service.scalar("SELECT count(*) FROM accounts WHERE id = :id", id=account_id)
        assert (restored, there) in {(200, 1), (404, 0)}
        assert ann.login().status_code == (200 if there else 401)
