"""Trusted devices are not throttled, and grant nothing else."""

from __future__ import annotations

import hashlib

import pytest
from sqlalchemy import inspect, text

from app.opaque_tokens import generate_token
from app.server.cleanup import delete_expired_data
from tests.actors import PASSWORD

MAX_ATTEMPTS = 20
MAX_DEVICES = 20
WRONG = "no password of anybody here"
NEW = "another sentence of some words"
UNLIMITED = {
    "limit_login": "100000/minute",
    "limit_forgot": "100000/minute",
    "limit_confirm": "100000/minute",
}


@pytest.fixture
def service(make_service, database_url):
    return make_service(database_url, **UNLIMITED).freeze_clock()


@pytest.fixture
def sqlite_service(make_service):
    return make_service(**UNLIMITED).freeze_clock()


def remember_device(actor, **changes) -> str:
    """Log in and return the token of the trusted device."""
    assert actor.login(remember_device=True, **changes).status_code == 200
    return actor.tokens["device_token"]


def throttle(actor):
    """Fail five logins and return the same user at that throttled source."""
    throttled = actor.from_another_address()
    for _ in range(5):
        assert throttled.login(password=WRONG).status_code == 401
    assert throttled.login().status_code == 429
    return throttled


def list_devices(actor) -> list[dict]:
    answer = actor.get("/v1/devices", token=actor.access)
    assert answer.status_code == 200
    assert answer.json["next"] is None
    return answer.json["items"]


def count_failures(service) -> int:
    return service.scalar(
        "SELECT coalesce(sum(count), 0) FROM failed_attempts WHERE id LIKE 'acc%' AND id NOT LIKE '% %'"
    )


# Effect.


def test_device_token_is_returned_only_on_request(service):
    ann = service.actor().sign_up()
    assert ann.login().status_code == 200
    assert "device_token" not in ann.tokens
    token = remember_device(ann)
    assert token.startswith("dwd_")
    assert "device_token" not in ann.refresh().json
    assert ann.login(device_token=token).status_code == 200
    assert "device_token" not in ann.tokens
    assert len(list_devices(ann)) == 1
    assert remember_device(ann, device_token=token) != token
    assert len(list_devices(ann)) == 2


@pytest.mark.parametrize("remember", ["true", 1, "yes", None, [], {}])
def test_remember_device_takes_only_a_boolean(sqlite_service, remember):
    ann = sqlite_service.actor().sign_up()
    answer = ann.login(remember_device=remember)
    assert answer.status_code == 422
    assert set(answer.json["errors"]) == {"/remember_device"}


def test_trusted_device_is_not_throttled(service):
    ann = service.actor().sign_up()
    token = remember_device(ann)
    throttled = throttle(ann)
    assert throttled.login(device_token=token, password=WRONG).status_code == 401
    assert throttled.login(device_token=token).status_code == 200
    assert throttled.login(username=ann.email, device_token=token).status_code == 200
    assert throttled.login().status_code == 429, "without the token, the source is still throttled"


def test_device_token_alone_grants_nothing(service):
    ann = service.actor().sign_up()
    token = remember_device(ann)
    service.actor("bob").sign_up()
    for body in (
        {"password": WRONG},
        {"username": "bob", "password": WRONG},
        {"username": "nobody-here"},
        {"password": token},
    ):
        assert ann.login(device_token=token, **body).status_code == 401
    assert ann.whoami(token).status_code == 401
    assert ann.refresh(token).status_code == 400
    assert ann.reset(NEW, token=token).status_code == 400


def test_twenty_failures_in_a_row_end_the_trust(service):
    ann = service.actor().sign_up()
    token = remember_device(ann)
    device = ann.from_another_address()
    for _ in range(MAX_ATTEMPTS):
        assert device.login(device_token=token, password=WRONG).status_code == 401
    for number in range(1, 5):
        assert device.login(device_token=token, password=WRONG).status_code == 401
        assert count_failures(service) == MAX_ATTEMPTS + number, "each attempt counts once"
    assert device.login(device_token=token, password=WRONG).status_code == 401
    assert device.login(device_token=token).status_code == 429
    assert ann.login().status_code == 200
    assert ann.from_another_address().login(device_token=token).status_code == 200, (
        "it is throttled like an unknown device"
    )


def test_right_password_restores_the_attempts_of_the_device(sqlite_service):
    ann = sqlite_service.actor().sign_up()
    token = remember_device(ann)
    for _ in range(3):
        for _ in range(MAX_ATTEMPTS - 1):
            assert ann.login(device_token=token, password=WRONG).status_code == 401
        assert ann.login(device_token=token).status_code == 200


def test_device_failures_count_for_the_account_but_lockout_spares_it(service):
    ann = service.actor().sign_up()
    token = remember_device(ann)
    for number in range(99):
        service.actor("ann", address=f"198.51.100.{number}").login(password=WRONG)
    assert ann.login(device_token=token, password=WRONG).status_code == 401
    assert ann.from_another_address().login().status_code == 401, (
        "the previous failure was the hundredth"
    )
    assert ann.login(device_token=token).status_code == 200
    assert ann.from_another_address().login().status_code == 200


# Invalid tokens.


def test_foreign_device_token_is_ignored(service):
    ann, bob = service.actor().sign_up(), service.actor("bob").sign_up()
    token, theirs = remember_device(ann), remember_device(bob)
    throttled = throttle(ann)
    swapped = token[:27] + theirs[27:]
    bad = [
        theirs,
        swapped,
        token[:-1],
        token + "x",
        token.upper(),
        token.replace("dwd_", "dwp_"),
        generate_token(
            "dwd", list_devices(ann)[0]["id"]
        ).token,  # everything but the secret is visible to anyone who was signed in once
        "junk",
        "dwd_",
        "é" * 50,
        "a" * 128,
        "' OR 1=1 --",
    ]
    answers = [throttled.login(device_token=each) for each in bad]
    assert [answer.status_code for answer in answers] == [429] * len(bad)
    for body in (
        {"device_token": ""},
        {"device_token": "x" * 129},
        {"device_token": 7},
        {"device_token": [token]},
    ):
        assert throttled.login(**body).status_code == 422
    assert throttled.login(device_token=None).status_code == 429
    assert throttled.login(device_token=token).status_code == 200


def test_device_token_expires_after_30_days_even_when_used(service):
    ann = service.actor().sign_up()
    token = remember_device(ann)
    for _ in range(2):
        service.clock.push(days=14, hours=23)
        ann.login(device_token=token)
    service.clock.push(hours=1, minutes=59)
    assert throttle(ann).login(device_token=token).status_code == 200
    ann.login()
    assert len(list_devices(ann)) == 1
    service.clock.push(minutes=2)
    assert throttle(ann).login(device_token=token).status_code == 429
    assert list_devices(ann) == []
    delete_expired_data(service.units)
    assert service.scalar("SELECT count(*) FROM devices") == 0


def test_deleted_device_is_no_longer_trusted(service):
    ann = service.actor().sign_up()
    kept, token = remember_device(ann, device_name="kept"), remember_device(ann, device_name="lost")
    (lost,) = [device for device in list_devices(ann) if device["name"] == "lost"]
    path = f"/v1/devices/{lost['id']}"
    assert ann.call("DELETE", path, token=ann.access).status_code == 204
    assert ann.call("DELETE", path, token=ann.access).status_code == 404
    throttled = throttle(ann)
    assert throttled.login(device_token=token).status_code == 429
    assert throttled.login(device_token=kept).status_code == 200
    assert [device["name"] for device in list_devices(ann)] == ["kept"]
    assert ann.whoami().status_code == 200, "the session that registered the device continues"


def test_reset_forgets_all_devices_and_change_and_logout_none(service):
    ann = service.actor().sign_up()
    token = remember_device(ann)
    assert ann.change(NEW).status_code == 200
    assert len(list_devices(ann)) == 1
    assert ann.post("/v1/logout-all", token=ann.access).status_code == 204
    assert throttle(ann).login(device_token=token).status_code == 200
    ann.request_password_reset()
    assert ann.reset(PASSWORD).status_code == 204
    assert throttle(ann).login(device_token=token).status_code == 429
    assert ann.login().status_code == 200
    assert list_devices(ann) == []


# The list.


def test_list_describes_devices_without_secrets(service):
    ann = service.actor(agent="phone/1", address="198.51.100.7").sign_up()
    first = remember_device(ann, device_name="my phone")
    ann.agent, ann.address = "laptop/1", "198.51.100.8"
    service.clock.push(hours=1)
    second = remember_device(ann)
    found = list_devices(ann)
    assert [device["name"] for device in found] == [None, "my phone"]
    assert [device["user_agent"] for device in found] == ["laptop/1", "phone/1"]
    assert [device["address"] for device in found] == ["198.51.100.8", "198.51.100.7"]
    assert set(found[0]) == {
        "id",
        "name",
        "user_agent",
        "address",
        "created_at",
        "last_used_at",
        "expires_at",
    }
    assert all(token.split("_")[2] not in str(found) for token in (first, second))
    service.clock.push(hours=1)
    ann.login(device_token=first)
    assert [device["name"] for device in list_devices(ann)] == ["my phone", None], (
        "the most recently used device comes first"
    )


def test_users_see_and_forget_only_their_own_devices(service):
    ann, bob = service.actor().sign_up(), service.actor("bob").sign_up()
    remember_device(ann)
    token = remember_device(bob)
    (theirs,) = list_devices(bob)
    for path in (theirs["id"], theirs["id"].swapcase(), "dev_" + "0" * 22, "junk", "%00", "acc_1"):
        answer = ann.call("DELETE", f"/v1/devices/{path}", token=ann.access)
        assert answer.status_code == 404, path
    assert theirs["id"] not in str(list_devices(ann))
    assert throttle(bob).login(device_token=token).status_code == 200
    for method, path in (("GET", "/v1/devices"), ("DELETE", f"/v1/devices/{theirs['id']}")):
        assert ann.call(method, path).status_code == 401
        assert ann.call(method, path, token=token).status_code == 401


def test_twenty_first_device_replaces_the_least_recently_used(service):
    ann = service.actor().sign_up()
    tokens = []
    for number in range(MAX_DEVICES):
        service.clock.push(seconds=1)
        tokens.append(remember_device(ann, device_name=f"device {number}"))
    service.clock.push(seconds=1)
    ann.login(device_token=tokens[0])
    service.clock.push(seconds=1)
    remember_device(ann, device_name="one more")
    names = {device["name"] for device in list_devices(ann)}
    assert names == {
        "one more",
        *(f"device {number}" for number in range(MAX_DEVICES) if number != 1),
    }
    assert service.scalar("SELECT count(*) FROM devices") == MAX_DEVICES


def test_only_a_digest_is_stored_and_nothing_is_logged(service, capfd):
    ann = service.actor().sign_up()
    token = remember_device(ann)
    ann.login(device_token=token)
    ann.login(device_token=token, password=WRONG)
    ann.login(device_token=token + "x")
    with service.open_database() as db:
        tables = inspect(db.connection()).get_table_names()
        kept = "\n".join(
            str(row) for table in tables for row in db.execute(text(f"SELECT * FROM {table}"))
        )
    assert hashlib.sha256(token.encode()).hexdigest() in kept
    captured = capfd.readouterr()
    for secret in (token, token.split("_")[2], token.split("_")[2][:43]):
        assert secret not in kept
        assert secret not in captured.out + captured.err


def test_remembering_and_forgetting_are_audited(service):
    ann = service.actor().sign_up()
    remember_device(ann)
    (device,) = list_devices(ann)
    ann.call("DELETE", f"/v1/devices/{device['id']}", token=ann.access)
    with service.open_database() as db:
        rows = db.execute(
            text(
                "SELECT event, account_id, detail FROM audit WHERE event LIKE 'device.%' ORDER BY id"
            )
        ).all()
    assert [row.event for row in rows] == ["device.remembered", "device.forgotten"]
    assert {row.account_id for row in rows} == {ann.tokens["account"]["id"]}
    assert all(device["id"] in str(row.detail) for row in rows)
