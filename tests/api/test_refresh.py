"""Refresh.

Each token works once, its successor is returned again for 30 seconds, and reuse revokes the
session.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from app.adapters import encryption
from tests.actors import SECRET

OTHER = "another secret another secret 0123456789 other"


@pytest.fixture
def ann(service):
    return service.freeze_clock().actor().sign_in()


def read_counter(token: str) -> int:
    return int(token.split(".")[3])


def forge_token(
    service, token: str, *, secret: str = SECRET, salt: str | None = None, **changes: str
) -> str:
    """Change parts of the token and sign it with the named secrets."""
    words = dict(
        zip(("version", "key", "session", "counter"), token.split("."), strict=False), **changes
    )
    body = ".".join(words.values())
    salt = salt or service.scalar(
        "SELECT rt_salt FROM sessions WHERE id = :id", id=words["session"]
    )
    mac = hmac.new(
        encryption.derive_key(secret, encryption.KeyPurpose.REFRESH, bytes.fromhex(salt)),
        body.encode(),
        hashlib.sha256,
    ).digest()
    return f"{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def get_session_status(service, ann) -> str:
    return service.scalar("SELECT status FROM sessions WHERE id = :id", id=ann.tokens["session_id"])


def is_refused(answer) -> bool:
    return answer.status_code == 400 and answer.json["code"] == "invalid_grant"


def test_each_refresh_returns_the_next_token_of_the_session(service, ann):
    first = ann.tokens
    again = ann.refresh().json
    assert again["session_id"] == first["session_id"]
    assert again["account"] == first["account"]
    assert again["access_token"] != first["access_token"]
    assert read_counter(again["refresh_token"]) == read_counter(first["refresh_token"]) + 1
    third = ann.refresh(again["refresh_token"]).json
    assert read_counter(third["refresh_token"]) == read_counter(first["refresh_token"]) + 2
    for tokens in (first, again, third):
        assert ann.whoami(tokens["access_token"]).status_code == 200


@pytest.mark.parametrize("later", [0, 1, 29])
def test_repeat_within_the_grace_period_returns_the_same_refresh_token(service, ann, later):
    first = ann.refresh().json
    service.clock.push(seconds=later)
    again = ann.refresh()
    assert again.status_code == 200
    assert again.json["refresh_token"] == first["refresh_token"]
    assert again.json["access_token"] != first["access_token"]
    assert ann.whoami(again.json["access_token"]).status_code == 200
    assert ann.refresh(first["refresh_token"]).status_code == 200
    assert get_session_status(service, ann) == "live"


def test_grace_period_is_not_extended_by_use(service, ann):
    ann.refresh()
    service.clock.push(seconds=20)
    assert ann.refresh().status_code == 200
    service.clock.push(seconds=11)
    assert is_refused(ann.refresh())
    assert get_session_status(service, ann) == "suspicious"


def test_reuse_after_the_grace_period_revokes_the_session_and_emails(service, ann):
    successor = ann.refresh().json
    service.clock.push(seconds=31)
    assert is_refused(ann.refresh())

    assert get_session_status(service, ann) == "suspicious"
    assert ann.whoami().status_code == 401
    assert ann.whoami(successor["access_token"]).status_code == 401
    assert is_refused(ann.refresh(successor["refresh_token"]))
    assert service.scalar("SELECT reason FROM sessions") == "refresh_reuse"
    assert (
        service.scalar(
            "SELECT count(*) FROM revocations WHERE kind = 'session' AND ref = :id",
            id=ann.tokens["session_id"],
        )
        == 1
    )
    assert service.scalar("SELECT count(*) FROM outbox WHERE template = 'suspicious_session'") == 1
    assert (
        service.scalar("SELECT count(*) FROM audit WHERE event = 'refresh_token.reuse_detected'")
        == 1
    )
    assert ann.address in ann.mail()["text"]


def test_token_two_steps_back_revokes_the_session_in_the_grace_period(service, ann):
    ann.refresh(ann.refresh().json["refresh_token"])
    assert is_refused(ann.refresh())
    assert get_session_status(service, ann) == "suspicious"


def test_reuse_revokes_only_its_session(service, ann):
    first = ann.tokens
    ann.login()
    ann.refresh(first["refresh_token"])
    service.clock.push(seconds=31)
    assert is_refused(ann.refresh(first["refresh_token"]))
    assert ann.refresh().status_code == 200


def test_stolen_token_is_useless_once_both_parties_used_it(service, ann):
    attacker = service.actor("thief", address="203.0.113.9")
    stolen = ann.tokens["refresh_token"]
    stolen_tokens = attacker.refresh(stolen).json
    service.clock.push(minutes=2)
    stolen_tokens = attacker.refresh(stolen_tokens["refresh_token"]).json
    assert is_refused(ann.refresh(stolen))
    assert is_refused(attacker.refresh(stolen_tokens["refresh_token"]))
    assert attacker.whoami(stolen_tokens["access_token"]).status_code == 401


def test_reuse_is_reported_once(service, ann):
    ann.refresh()
    service.clock.push(seconds=31)
    for _ in range(3):
        assert is_refused(ann.refresh())
    assert service.scalar("SELECT count(*) FROM outbox WHERE template = 'suspicious_session'") == 1
    assert service.scalar("SELECT count(*) FROM revocations") == 1


def test_token_ahead_of_the_database_revokes_the_session(service, ann):
    """After a restored backup, the database has forgotten a refresh."""
    ahead = ann.refresh().json["refresh_token"]
    ahead = ann.refresh(ahead).json["refresh_token"]
    service.scalar("UPDATE sessions SET rt_counter = 0 RETURNING id")
    assert is_refused(ann.refresh(ahead))
    assert get_session_status(service, ann) == "suspicious"
    assert service.scalar("SELECT reason FROM sessions") == "refresh_ahead"
    assert (
        service.scalar("SELECT count(*) FROM audit WHERE event = 'refresh_token.ahead_of_database'")
        == 1
    )


@pytest.mark.parametrize("column", ["accounts.epoch", "issuer_state.global_epoch"])
@pytest.mark.parametrize("step", [1, -1])
def test_session_of_another_epoch_is_dead(service, ann, column, step):
    table, name = column.split(".")
    service.scalar(f"UPDATE {table} SET {name} = {name} + :step RETURNING id", step=step)
    assert ann.whoami().status_code == 401
    assert is_refused(ann.refresh())
    service.scalar(f"UPDATE {table} SET {name} = {name} - :step RETURNING id", step=step)
    assert ann.refresh().status_code == 200


def test_disabled_account_cannot_refresh_and_loses_no_token(service, ann):
    service.scalar("UPDATE accounts SET status = 'disabled' RETURNING id")
    assert is_refused(ann.refresh())
    assert ann.whoami().status_code == 401
    assert get_session_status(service, ann) == "live"


def test_session_expires_after_14_days_without_a_refresh(service, ann):
    service.clock.push(days=14, seconds=-5)
    ann.tokens = ann.refresh().json
    service.clock.push(days=14, seconds=1)
    assert is_refused(ann.refresh())
    assert service.scalar("SELECT count(*) FROM outbox WHERE template = 'suspicious_session'") == 0


def test_session_expires_after_30_days_despite_refreshes(service, ann):
    for _ in range(2):
        service.clock.push(days=13)
        ann.tokens = ann.refresh().json
    assert ann.tokens["refresh_expires_in"] <= 4 * 86400
    service.clock.push(days=4, seconds=-60)
    ann.tokens = ann.refresh().json
    assert 0 < ann.tokens["expires_in"] <= 60
    assert 0 < ann.tokens["refresh_expires_in"] <= 60
    service.clock.push(seconds=61)
    assert is_refused(ann.refresh())
    assert ann.whoami().status_code == 401


def test_refresh_never_changes_auth_time(service, ann):
    before = service.scalar("SELECT auth_time FROM sessions")
    claimed = service.units.signing_keys.verify(
        "at+jwt", ann.access, is_acceptable=lambda _claims: True
    )["auth_time"]
    service.clock.push(hours=1)
    again = ann.refresh().json["access_token"]
    assert service.scalar("SELECT auth_time FROM sessions") == before
    assert (
        service.units.signing_keys.verify("at+jwt", again, is_acceptable=lambda _claims: True)[
            "auth_time"
        ]
        == claimed
    )


def test_altered_token_is_refused_and_the_session_stays_live(service, ann):
    token = ann.tokens["refresh_token"]
    version, key, session, count, mac = token.split(".")
    salt = service.scalar("SELECT rt_salt FROM sessions")
    bob = service.actor("bob").sign_in()
    last = {"A": "B"}.get(mac[0], "A") + mac[1:]
    for bad in (
        f"{version}.{key}.{session}.{count}.{last}",
        f"{version}.{key}.{session}.{int(count) + 1}.{mac}",
        f"{version}.{key}.{bob.tokens['session_id']}.{count}.{mac}",
        f"{version}.{key}.ses_{'0' * 22}.{count}.{mac}",
        f"{version}.{encryption.compute_key_id(OTHER)}.{session}.{count}.{mac}",
        f"{version}.{key}.{session}.0{count}.{mac}",
        f"{version}.{key}.{session}.-1.{mac}",
        f"{version}.{key}.{session}.٠.{mac}",
        f"{version}.{key}.{session}.9999999999.{mac}",
        f"dwr2.{key}.{session}.{count}.{mac}",
        f"{version.upper()}.{key}.{session}.{count}.{mac}",
        f"{token}=",
        f"{token}.",
        f" {token}",
        f"{token} ",
        token[:-1],
        token + "A",
        forge_token(service, token, secret=OTHER),  # with the database but without the settings
        forge_token(service, token, secret=OTHER, key=encryption.compute_key_id(OTHER)),
        forge_token(service, token, salt="00" * 32),  # with the settings but without the database
        forge_token(service, token, session=bob.tokens["session_id"], salt=salt),
        "null",
        "dwr1....",
        ann.access,
    ):
        assert is_refused(ann.refresh(bad)), bad
    assert ann.refresh().status_code == 200
    assert bob.refresh().status_code == 200


def test_last_character_of_a_token_has_one_encoding(service, ann):
    """43 base64 characters have two more bits than the MAC, so it would have four encodings."""
    token = ann.tokens["refresh_token"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    index = alphabet.index(token[-1])
    for other in {index ^ 1, index ^ 2, index ^ 3}:
        assert is_refused(ann.refresh(token[:-1] + alphabet[other]))
    assert ann.refresh().status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"refresh_token": None},
        {"refresh_token": ""},
        {"refresh_token": 1},
        {"refresh_token": ["x"]},
        {"refresh_token": "x" * 4097},
    ],
)
def test_missing_token_is_named(sqlite_service, body):
    answer = sqlite_service.actor().post("/v1/token/refresh", body)
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == ["/refresh_token"]


def test_new_secret_key_keeps_every_session_live(make_service, database_url):
    ann = make_service(database_url).actor().sign_in()
    ann.service = make_service(database_url, secret_key=(OTHER, SECRET))
    first = ann.refresh()
    assert first.status_code == 200
    assert first.json["refresh_token"].split(".")[1] == encryption.compute_key_id(OTHER)
    assert ann.refresh().json["refresh_token"] == first.json["refresh_token"]
    assert ann.refresh(first.json["refresh_token"]).status_code == 200


def test_removed_secret_key_refuses_its_tokens_and_revokes_nothing(make_service, database_url):
    old = make_service(database_url)
    ann = old.actor().sign_in()
    old.scalar("DELETE FROM signing_keys RETURNING kid")  # it is encrypted under the old key too
    ann.service = make_service(database_url, secret_key=(OTHER,))
    assert is_refused(ann.refresh())
    assert get_session_status(ann.service, ann) == "live"
    assert (
        ann.service.scalar("SELECT count(*) FROM outbox WHERE template = 'suspicious_session'") == 0
    )
    ann.service = make_service(database_url, secret_key=(OTHER, SECRET))
    assert ann.refresh().status_code == 200


def test_restart_forgets_no_refresh(make_service, database_url):
    ann = make_service(database_url).actor().sign_in()
    first = ann.refresh().json
    ann.service = make_service(database_url)
    assert ann.refresh().json["refresh_token"] == first["refresh_token"]
    ann.service.clock.push(seconds=31)
    assert is_refused(ann.refresh())
    assert is_refused(ann.refresh(first["refresh_token"]))


def test_no_part_of_a_token_is_stored(service, ann):
    mac = ann.tokens["refresh_token"].rpartition(".")[2]
    with service.open_database() as db:
        rows = db.connection().exec_driver_sql("SELECT * FROM sessions").all()
    assert mac not in str(rows)


def test_refreshes_are_rate_limited_by_source(make_service):
    service = make_service(limit_refresh="2/minute")
    ann = service.actor().sign_in()
    assert [ann.refresh("x").status_code for _ in range(3)] == [400, 400, 429]
    assert service.actor().refresh(ann.tokens["refresh_token"]).status_code == 200


def test_ip_address_of_the_latest_refresh_is_shown(service, ann):
    ann.address = "198.51.100.77"
    ann.tokens = ann.refresh().json
    session = ann.get(f"/v1/sessions/{ann.tokens['session_id']}", token=ann.access).json
    assert session["last_address"] == "198.51.100.77"
    assert session["address"] != "198.51.100.77"


@pytest.mark.parametrize("path", ["/v1/logout", "/v1/logout-all"])
def test_long_expired_refresh_token_cannot_log_out(service, path):
    """It may be a copy, whose holder could otherwise end every session of the account."""
    ann = service.actor("ann").sign_in()
    spent = ann.tokens["refresh_token"]
    present = ann.refresh().json
    service.clock.push(seconds=31)
    assert ann.post(path, {"refresh_token": spent}).status_code == 401
    assert ann.refresh(present["refresh_token"]).status_code == 200
