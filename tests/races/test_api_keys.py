"""Concurrent requests for API keys: quota, revocation and removed scopes hold."""

from __future__ import annotations

import itertools
import threading
from collections import Counter

import pytest
from sqlalchemy import create_engine, text

from tests.actors import PASSWORD
from tests.live import build_raw_post, send_simultaneously
from tests.slow import LONG

RACERS = 16
MAX_KEYS = 50
ROUNDS = 4 if LONG else 2
NUMBERS = itertools.count()
EVERYTHING = ["memberships:write:*", "revocations:read", "roles:read", "tokens:introspect"]


@pytest.fixture
def owner(live) -> dict[str, str]:
    """Register an administrator for each race and return its header."""
    name = f"keeper{next(NUMBERS)}"
    email = f"{name}@example.org"
    answer = live.call(
        "POST",
        "/v1/register",
        {"username": name, "email": email, "name": "Keeper", "password": PASSWORD},
    )[1]
    code = live.mailbox(email)[0]["code"]
    account = live.call(
        "POST", "/v1/register/confirm", {"registration": answer["registration"], "code": code}
    )[1]["account"]
    engine = create_engine(live.env["DOORWARD_DATABASE_URL"])
    with engine.begin() as connection:  # before the first check of the account
        connection.execute(
            text(
                "INSERT INTO account_roles SELECT id, 'admin', created_at FROM accounts WHERE id = :id"
            ),
            account,
        )
        connection.execute(text("UPDATE accounts SET roles_version = 1 WHERE id = :id"), account)
    engine.dispose()
    status, tokens = live.call("POST", "/v1/login", {"username": name, "password": PASSWORD})
    assert status == 200
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def create_key(live, owner, name: str, scopes=()) -> dict:
    status, key = live.call("POST", "/v1/api-keys", {"name": name, "scopes": list(scopes)}, owner)
    assert status == 201, key
    return key


def list_keys(live, owner) -> list[dict]:
    return live.call("GET", "/v1/api-keys", headers=owner)[1]["items"]


def use(live, key: str) -> tuple[int, dict]:
    return live.call("GET", "/v1/whoami", headers={"X-API-Key": key})


def build_request(method: str, path: str, headers, body=None) -> bytes:
    return build_raw_post(path, body if body is not None else {}, headers).replace(
        b"POST", method.encode(), 1
    )


def test_concurrent_creations_never_exceed_the_quota(live, owner):
    for number in range(MAX_KEYS - 5):
        create_key(live, owner, f"key {number}")
    answers = send_simultaneously(
        live.port,
        [
            build_raw_post("/v1/api-keys", {"name": f"racer {n}", "scopes": []}, owner)
            for n in range(RACERS)
        ],
    )
    assert Counter(status for status, _ in answers) == {201: 5, 409: RACERS - 5}
    assert {answer["code"] for status, answer in answers if status == 409} == {"too_many_keys"}
    assert len(list_keys(live, owner)) == MAX_KEYS


def test_concurrent_keys_of_one_name_yield_one(live, owner):
    answers = send_simultaneously(
        live.port, [build_raw_post("/v1/api-keys", {"name": "same", "scopes": []}, owner)] * RACERS
    )
    assert Counter(status for status, _ in answers) == {201: 1, 409: RACERS - 1}
    assert [key["name"] for key in list_keys(live, owner)] == ["same"]


def test_concurrent_renames_never_share_a_name(live, owner):
    keys = [create_key(live, owner, f"key {number}") for number in range(RACERS)]
    answers = send_simultaneously(
        live.port,
        [
            build_request("PATCH", f"/v1/api-keys/{key['id']}", owner, {"name": "same"})
            for key in keys
        ],
    )
    assert Counter(status for status, _ in answers) == {200: 1, 409: RACERS - 1}


def test_deleted_key_stays_deleted_despite_a_concurrent_rotation(live, owner):
    for attempt in range(ROUNDS):
        key = create_key(live, owner, f"key {attempt}")
        path = f"/v1/api-keys/{key['id']}"
        rotations = [build_raw_post(f"{path}/rotate", {}, owner)] * 6
        (status, _), *answers = send_simultaneously(
            live.port, [build_request("DELETE", path, owner), *rotations]
        )
        assert status == 204
        assert {status for status, _ in answers} <= {200, 404}
        secrets = [key["key"], *(answer["key"] for status, answer in answers if status == 200)]
        assert {use(live, secret)[0] for secret in secrets} == {401}


def test_concurrent_rotations_leave_the_last_two_secrets(live, owner):
    key = create_key(live, owner, "key")
    answers = send_simultaneously(
        live.port, [build_raw_post(f"/v1/api-keys/{key['id']}/rotate", {}, owner)] * 8
    )
    assert Counter(status for status, _ in answers) == {200: 8}
    secrets = [key["key"], *(answer["key"] for _, answer in answers)]
    assert len(set(secrets)) == 9
    assert Counter(use(live, secret)[0] for secret in secrets) == {200: 2, 401: 7}


def test_concurrent_deletions_revoke_once(live, owner):
    key = create_key(live, owner, "key")
    answers = send_simultaneously(
        live.port, [build_request("DELETE", f"/v1/api-keys/{key['id']}", owner)] * RACERS
    )
    assert Counter(status for status, _ in answers) == {204: 1, 404: RACERS - 1}


def test_removed_scope_is_never_used_later(live, owner):
    key = create_key(live, owner, "key", EVERYTHING)
    seen: list[tuple[int, int]] = []
    taken = [0]  # number of scopes that are certainly gone
    stop = threading.Event()

    def check_scopes() -> None:
        while not stop.is_set():
            gone = taken[0]
            seen.append((gone, len(use(live, key["key"])[1]["scopes"])))

    readers = [threading.Thread(target=check_scopes) for _ in range(4)]
    for reader in readers:
        reader.start()
    left = list(EVERYTHING)
    while left:
        left.pop()
        assert live.call("PATCH", f"/v1/api-keys/{key['id']}", {"scopes": left}, owner)[0] == 200
        taken[0] += 1
    stop.set()
    for reader in readers:
        reader.join()
    assert len(seen) > len(EVERYTHING)
    assert all(held <= len(EVERYTHING) - gone for gone, held in seen)


def test_concurrent_narrowing_restores_no_scope(live, owner):
    key = create_key(live, owner, "key", EVERYTHING)
    bodies = [{"scopes": [scope for scope in EVERYTHING if scope != gone]} for gone in EVERYTHING]
    answers = send_simultaneously(
        live.port,
        [build_request("PATCH", f"/v1/api-keys/{key['id']}", owner, body) for body in bodies],
    )
    # The second request names a scope that was removed, and receives none.
    assert Counter(status for status, _ in answers) == {200: 1, 422: 3}
    assert len(use(live, key["key"])[1]["scopes"]) == 3


def test_leak_report_and_rotation_at_once_leave_no_reported_secret(live, owner):
    for attempt in range(ROUNDS):
        key = create_key(live, owner, f"key {attempt}")
        report = build_raw_post("/v1/api-keys/report-leak", {"key": key["key"]})
        rotation = build_raw_post(
            f"/v1/api-keys/{key['id']}/rotate", {"overlap_seconds": 60}, owner
        )
        (reported, _), (rotated, answer) = send_simultaneously(live.port, [report, rotation])
        assert reported == 204
        assert use(live, key["key"])[0] == 401
        assert rotated in {200, 404}
        if rotated == 200:  # the old secret is valid for a minute, so reporting it revoked both
            assert use(live, answer["key"])[0] == 401
