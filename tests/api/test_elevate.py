"""Step-up: what a repeated password permits, for how long, and how failures count."""

from __future__ import annotations

import base64
import json

import pytest
from sqlalchemy import text

from tests.authorization import ROLES, assign_role, create_key, sign_in_with_role

WRONG = "wrong horse battery staple"


@pytest.fixture
def service(make_service, database_url):
    return make_service(database_url, roles=ROLES).freeze_clock()


@pytest.fixture
def ann(service):
    return service.actor("ann").sign_in()


def elevate(actor, password=None, token=None, **more):
    answer = actor.post(
        "/v1/elevate", {"password": password or actor.password, **more}, token=token or actor.access
    )
    if answer.status_code == 200:
        actor.tokens |= answer.json
    return answer


def read_claims(token: str) -> dict:
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


def has_recent_authentication(actor, token=None) -> bool:
    """Return whether the token satisfies recent authentication."""
    answer = actor.post(
        "/v1/api-keys", {"name": "x", "scopes": ["nobody:has:this"]}, token=token or actor.access
    )
    return answer.status_code != 401


def test_password_satisfies_recent_authentication_for_five_minutes(service, ann):
    service.clock.push(seconds=301)
    ann.refresh()
    ann.tokens = ann.refresh().json
    stale, session_id = ann.access, ann.tokens["session_id"]
    assert not has_recent_authentication(ann)
    response = elevate(ann).json
    assert set(response) == {
        "access_token",
        "token_type",
        "expires_in",
        "session_id",
        "scope",
        "roles",
    }
    assert (response["session_id"], response["expires_in"]) == (session_id, 300)
    assert read_claims(ann.access)["auth_time"] > read_claims(stale)["auth_time"]
    assert has_recent_authentication(ann)
    assert not has_recent_authentication(ann, stale)  # a token issued before keeps its auth_time
    ann.tokens = ann.refresh().json
    assert has_recent_authentication(ann)
    service.clock.push(seconds=290)
    ann.tokens = ann.refresh().json
    assert has_recent_authentication(ann)
    service.clock.push(seconds=11)
    assert not has_recent_authentication(ann)


def test_other_sessions_are_not_elevated(service, ann):
    other = ann.from_another_address()
    other.login()
    service.clock.push(seconds=301)
    for one in (ann, other):
        one.tokens = one.refresh().json
    elevate(ann)
    assert has_recent_authentication(ann)
    assert not has_recent_authentication(other)


def test_wrong_password_is_refused_and_the_session_stays_live(service, ann):
    before = read_claims(ann.access)["auth_time"]
    service.clock.push(seconds=10)
    answer = elevate(ann, WRONG)
    assert (answer.status_code, answer.json["code"]) == (403, "wrong_password")
    assert ann.whoami().status_code == 200
    assert read_claims(ann.refresh().json["access_token"])["auth_time"] == before


def test_failures_count_like_failures_at_login(ann):
    for _ in range(5):
        assert elevate(ann, WRONG).status_code == 403
    for answer in (elevate(ann), ann.login(), ann.change("another sentence of some words")):
        assert (answer.status_code, answer.json["violated-policies"]) == (429, ["password"])


def test_login_failures_count_here_and_a_right_password_clears_them(service, ann):
    for _ in range(5):
        ann.login(password=WRONG)
    assert elevate(ann).status_code == 429
    service.clock.push(seconds=2)
    assert elevate(ann).status_code == 200
    for _ in range(4):
        assert elevate(ann, WRONG).status_code == 403
    assert elevate(ann).status_code == 200


def test_hundred_failures_lock_the_password(service, ann):
    elevate(ann, WRONG)
    service.scalar("UPDATE failed_attempts SET count = 100 WHERE id NOT LIKE '% %' RETURNING id")
    assert elevate(ann).status_code == 403
    with service.open_database() as db:
        assert "password.locked" in db.execute(text("SELECT event FROM audit")).scalars().all()


def test_api_key_cannot_elevate(service):
    boss = sign_in_with_role(service, "boss", "admin")
    assert elevate(boss, token=create_key(boss, "roles:read")).status_code == 403


def test_revoked_session_cannot_elevate(service, ann):
    old = ann.access
    ann.logout()
    assert elevate(ann, token=old).status_code == 401
    ann.login()
    service.scalar("UPDATE accounts SET status = 'disabled' WHERE username = 'ann' RETURNING id")
    assert elevate(ann).status_code == 401


def test_forced_password_change_blocks_elevation(service, ann):
    service.scalar(
        "UPDATE accounts SET must_change_since = created_at WHERE username = 'ann' RETURNING id"
    )
    answer = elevate(ann)
    assert (answer.status_code, answer.json["code"]) == (403, "password_change_required")
    assert (
        ann.reset("another sentence of some words", token=answer.json["reset_token"]).status_code
        == 204
    )


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"password": ""},
        {"password": 5},
        {"password": "a\nb"},
        {"password": "x" * 129},
        {"password": "x", "more": 1},
    ],
)
def test_impossible_password_is_not_counted(sqlite_service, body):
    ann = sqlite_service.actor("ann").sign_in()
    for _ in range(6):
        assert ann.post("/v1/elevate", body, token=ann.access).status_code == 422
    assert elevate(ann).status_code == 200


def test_elevation_is_audited_and_keeps_the_scope(service):
    boss = sign_in_with_role(service, "boss", "admin", scope="roles:read")
    response = elevate(boss).json
    assert (response["scope"], response["roles"]) == ("roles:read", [])
    assert assign_role(boss, service.actor("ann").sign_in(), "editor").status_code == 403
    with service.open_database() as db:
        rows = (
            db.execute(text("SELECT session_id FROM audit WHERE event = 'session.elevated'"))
            .scalars()
            .all()
        )
    assert rows == [response["session_id"]]
