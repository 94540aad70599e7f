"""The sessions of a user: list, show and revoke; those of others do not exist."""

from __future__ import annotations

import jwt
import pytest

from app.server.cache_watcher import CacheWatcher
from app.signing_keys.revoke import revoke_signing_key
from tests.actors import Actor

SHOWN = {
    "id", "current", "status", "device_name", "client_id", "approved_by", "user_agent", "address", "last_address",
    "created_at", "last_used_at", "expires_at", "ended_at", "reason",
}  # fmt: skip


@pytest.fixture
def ann(service):
    return service.actor().sign_in()


def log_in_again(ann: Actor, **changes) -> Actor:
    """Log in the same user again."""
    other_login = ann.service.actor(ann.username, email=ann.email, **changes)
    assert other_login.login().status_code == 200
    return other_login


def list_sessions(ann: Actor) -> list[dict]:
    answer = ann.get("/v1/sessions", token=ann.access)
    assert answer.status_code == 200
    assert answer.json["next"] is None
    return answer.json["items"]


def normalize_response(answer):
    return (
        answer.status_code,
        {n: v for n, v in answer.headers if n != "X-Request-Id"},
        {n: v for n, v in answer.json.items() if n != "request_id"},
    )


def test_sessions_are_listed_newest_first_with_device_and_ip_address(service, ann):
    service.clock.push(minutes=1)
    phone = service.actor("ann", address="198.51.100.4", agent="Phone/2")
    phone.login(device_name="  my phone ")
    newest, oldest = list_sessions(ann)
    assert set(newest) == set(oldest) == SHOWN
    assert newest["id"] == phone.tokens["session_id"]
    assert newest["device_name"] == "my phone"
    assert newest["user_agent"] == "Phone/2"
    assert newest["address"] == newest["last_address"] == "198.51.100.4"
    assert (newest["current"], oldest["current"]) == (False, True)
    assert (newest["status"], oldest["status"]) == ("live", "live")
    assert newest["created_at"] > oldest["created_at"]
    assert newest["expires_at"] > newest["last_used_at"] == newest["created_at"]
    assert newest["ended_at"] is newest["reason"] is oldest["device_name"] is None
    assert [item["current"] for item in list_sessions(phone)] == [True, False]


def test_list_contains_no_secret(ann):
    listed = ann.get("/v1/sessions", token=ann.access).text
    assert ann.tokens["refresh_token"].rpartition(".")[2] not in listed
    assert "salt" not in listed
    assert "counter" not in listed
    assert "epoch" not in listed


def test_ended_session_is_shown(ann):
    other_login = log_in_again(ann)
    session_id = other_login.tokens["session_id"]
    assert ann.get(f"/v1/sessions/{session_id}", token=ann.access).json["status"] == "live"
    assert other_login.logout().status_code == 204
    session = ann.get(f"/v1/sessions/{session_id}", token=ann.access).json
    assert session["status"] == "logged_out"
    assert session["reason"] == "logout"
    assert session["ended_at"] >= session["created_at"]
    assert [item["id"] for item in list_sessions(ann)] == [ann.tokens["session_id"]]


def test_session_revoked_by_its_owner_ends_at_once(service, ann):
    other_login = log_in_again(ann)
    assert (
        ann.call(
            "DELETE", f"/v1/sessions/{other_login.tokens['session_id']}", token=ann.access
        ).status_code
        == 204
    )
    assert other_login.whoami().status_code == 401
    assert other_login.refresh().status_code == 400
    assert ann.whoami().status_code == 200
    assert (
        service.scalar(
            "SELECT count(*) FROM revocations WHERE ref = :id", id=other_login.tokens["session_id"]
        )
        == 1
    )


def test_revoking_a_session_twice_counts_once(service, ann):
    other_login = log_in_again(ann)
    path = f"/v1/sessions/{other_login.tokens['session_id']}"
    assert [ann.call("DELETE", path, token=ann.access).status_code for _ in range(2)] == [204, 204]
    assert service.scalar("SELECT count(*) FROM revocations") == 1
    assert service.scalar("SELECT count(*) FROM audit WHERE event = 'session.ended'") == 1


def test_current_session_can_be_revoked(ann):
    assert (
        ann.call("DELETE", f"/v1/sessions/{ann.tokens['session_id']}", token=ann.access).status_code
        == 204
    )
    assert ann.whoami().status_code == 401


def test_revoking_all_others_keeps_the_current_session(service, ann):
    others = [log_in_again(ann) for _ in range(3)]
    bob = service.actor("bob").sign_in()
    assert ann.call("DELETE", "/v1/sessions", token=ann.access).status_code == 204
    assert [other.whoami().status_code for other in others] == [401] * 3
    assert [other.refresh().status_code for other in others] == [400] * 3
    assert ann.whoami().status_code == bob.whoami().status_code == 200
    assert len(list_sessions(ann)) == 1
    assert service.scalar("SELECT count(*) FROM revocations") == 3
    assert ann.call("DELETE", "/v1/sessions", token=ann.access).status_code == 204
    assert service.scalar("SELECT count(*) FROM revocations") == 3


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_session_of_another_account_is_not_found(service, ann, method):
    bob = service.actor("bob").sign_in()
    foreign = ann.call(method, f"/v1/sessions/{bob.tokens['session_id']}", token=ann.access)
    assert foreign.status_code == 404
    for unknown in (
        "ses_" + "0" * 22,
        "ses_",
        "x",
        "acc_" + "0" * 22,
        "%00",
        "%F0%9F%98%80",
        "ses_" + "0" * 22 + "%0A",
        "'",
        "%25",
        "x" * 500,
    ):
        assert normalize_response(
            ann.call(method, f"/v1/sessions/{unknown}", token=ann.access)
        ) == normalize_response(foreign)
    assert bob.whoami().status_code == 200


def test_fifty_first_session_replaces_the_oldest(make_service, database_url):
    service = make_service(database_url, limit_login="1000/minute")
    ann = service.actor().sign_in()
    first = ann.tokens
    for _ in range(49):
        service.clock.push(seconds=1)
        ann.login()
    assert len(list_sessions(ann)) == 50
    assert ann.whoami(first["access_token"]).status_code == 200
    service.clock.push(seconds=1)
    ann.login()
    assert len(list_sessions(ann)) == 50
    assert ann.whoami(first["access_token"]).status_code == 401
    assert ann.refresh(first["refresh_token"]).status_code == 400
    ended = ann.get(f"/v1/sessions/{first['session_id']}", token=ann.access).json
    assert (ended["status"], ended["reason"]) == ("revoked", "too_many_sessions")
    assert service.scalar("SELECT count(*) FROM revocations") == 1
    assert service.scalar("SELECT count(*) FROM audit WHERE event = 'session.ended'") == 1


def test_expired_sessions_do_not_count(make_service):
    service = make_service(limit_login="1000/minute")
    ann = service.actor().sign_up()
    for _ in range(49):
        ann.login(expires_in=60)
    service.clock.push(seconds=61)
    ann.login()
    kept = ann.tokens
    for _ in range(49):
        ann.login()
    assert len(list_sessions(ann)) == 50
    assert ann.whoami(kept["access_token"]).status_code == 200


def test_sessions_ended_by_a_revoked_signing_key_do_not_count_towards_the_limit(make_service):
    service = make_service(limit_login="1000/minute")
    ann = service.actor().sign_up()
    for _ in range(50):
        ann.login()
    with service.units.open_read_write() as work:
        assert revoke_signing_key(work, kid=jwt.get_unverified_header(ann.access)["kid"])
    CacheWatcher().watch(service.units)
    ann.login()
    assert service.scalar("SELECT count(*) FROM revocations WHERE kind = 'session'") == 0
    assert service.scalar("SELECT count(*) FROM audit WHERE event = 'session.ended'") == 0
    assert [item["id"] for item in list_sessions(ann)] == [ann.tokens["session_id"]]


def test_expired_session_is_shown_as_expired(service, ann):
    short = service.actor("ann")
    short.login(expires_in=60)
    service.clock.push(seconds=61)
    assert len(list_sessions(ann)) == 1
    assert (
        ann.get(f"/v1/sessions/{short.tokens['session_id']}", token=ann.access).json["status"]
        == "expired"
    )


def test_a_session_of_a_past_epoch_is_shown_as_revoked(service, ann):
    other_login = log_in_again(ann)
    path = f"/v1/sessions/{other_login.tokens['session_id']}"
    for column in ("account_epoch", "global_epoch"):
        service.scalar(
            f"UPDATE sessions SET {column} = 0 WHERE id = :id RETURNING id",
            id=other_login.tokens["session_id"],
        )
        assert [item["id"] for item in list_sessions(ann)] == [ann.tokens["session_id"]]
        assert ann.get(path, token=ann.access).json["status"] == "revoked"
        service.scalar(
            f"UPDATE sessions SET {column} = 1 WHERE id = :id RETURNING id",
            id=other_login.tokens["session_id"],
        )
    assert len(list_sessions(ann)) == 2


def test_a_login_opens_a_new_session_each_time(ann):
    first = ann.tokens
    ann.login()
    assert ann.tokens["session_id"] != first["session_id"]
    assert ann.whoami(first["access_token"]).status_code == 200


@pytest.mark.parametrize(
    "agent", ["", "x" * 5000, "caf\xe9 \x07\x1b[31m", "<script>alert(1)</script>"]
)
def test_any_user_agent_can_log_in(service, agent):
    ann = service.actor(agent=agent).sign_in()
    user_agent = list_sessions(ann)[0]["user_agent"]
    assert len(user_agent) <= 256
    assert user_agent.isprintable()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/sessions"),
        ("DELETE", "/v1/sessions"),
        ("GET", "/v1/sessions/x"),
        ("DELETE", "/v1/sessions/x"),
    ],
)
def test_list_requires_an_access_token(sqlite_service, method, path):
    ann = sqlite_service.actor().sign_in()
    assert ann.call(method, path).status_code == 401
    assert ann.call(method, path, token=ann.tokens["refresh_token"]).status_code == 401
    assert ann.call(method, path + f"?access_token={ann.access}").status_code == 401
    assert (
        ann.call(method, path, headers={"Cookie": f"access_token={ann.access}"}).status_code == 401
    )
    assert ann.whoami().status_code == 200
