"""Updating an access token.

Current rights, the roles at one resource, and roles that do not fit or changed.
"""

from __future__ import annotations

import base64
import json

import pytest

from app.server.cache_watcher import CacheWatcher
from tests.authorization import (
    ROLES,
    assign_role,
    create_key,
    get_account_id,
    grant_membership,
    remove_role,
    revoke_membership,
    sign_in_with_role,
)

MANY = {f"role{number:02}": ("articles:read",) for number in range(25)}


@pytest.fixture
def service(make_service, database_url):
    return make_service(database_url, roles=ROLES)


@pytest.fixture
def ann(service):
    return service.actor("ann").sign_in()


@pytest.fixture
def boss(service):
    return sign_in_with_role(service, "boss", "admin")


def update(actor, token=None, **body):
    answer = actor.post("/v1/token/update", body, token=token or actor.access)
    if answer.status_code == 200:
        actor.tokens |= answer.json
    return answer


def read_claims(token: str) -> dict:
    return json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))


def test_updated_token_has_the_current_rights(boss, ann):
    assign_role(boss, ann, "editor")
    grant_membership(boss, ann, "member")
    before = ann.access
    response = update(ann).json
    assert set(response) == {
        "access_token",
        "token_type",
        "expires_in",
        "session_id",
        "scope",
        "roles",
    }
    assert (response["token_type"], response["session_id"]) == (
        "Bearer",
        read_claims(before)["sid"],
    )
    assert (response["scope"], response["roles"]) == ("articles:read articles:write", ["editor"])
    assert update(ann, resource="list", id="7", force=True).json["roles"] == [
        "editor",
        "list-7-invitee",
        "list-7-member",
    ]
    assert ann.whoami().json["roles"] == ["editor", "list-7-invitee", "list-7-member"]
    assert read_claims(ann.access)["roles"] == ["editor", "list-7-invitee", "list-7-member"]
    assert ann.whoami(before).status_code == 200
    assert update(ann, resource="list", id="8").json["roles"] == ["editor"]


def test_missing_and_empty_bodies_are_equivalent(ann):
    assert ann.call("POST", "/v1/token/update", token=ann.access).status_code == 200
    assert update(ann).status_code == 200


def test_updated_token_keeps_the_original_expiry(service, ann):
    """Otherwise an access token could renew itself for the life of its session, unnoticed."""
    ends = read_claims(ann.access)["exp"]
    for _ in range(3):
        service.clock.push(seconds=90)
        assert 0 < update(ann).json["expires_in"] <= 300
        assert read_claims(ann.access)["exp"] == ends
    service.clock.push(seconds=31)
    assert ann.whoami().status_code == 200  # leeway for clock offsets
    assert update(ann).status_code == 401
    assert ann.refresh().json["expires_in"] == 300


def test_only_a_session_can_update_its_token(service, boss, ann):
    assert ann.post("/v1/token/update", token=create_key(boss)).status_code == 403
    old = ann.access
    ann.logout()
    assert update(ann, old).status_code == 401
    service.scalar("UPDATE accounts SET status = 'disabled' WHERE username = 'boss' RETURNING id")
    assert update(boss).status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        {"resource": "list"},
        {"id": "7"},
        {"resource": "List", "id": "7"},
        {"resource": "list", "id": "a b"},
        {"force": 1},
        {"more": 1},
        {"id": 7},
    ],
)
def test_incomplete_resource_is_an_error(sqlite_service, body):
    ann = sqlite_service.actor("ann").sign_in()
    assert update(ann, **body).status_code == 422


@pytest.mark.parametrize("redis", ["warm", "cold", "away", "none"])
def test_resource_roles_stay_until_rights_change(request, make_service, sqlite_url, redis):
    """Any change of rights outdates the token.

    Its current roles are looked up, and the resource's roles come with the next update.
    """
    url = (
        {"away": "redis://127.0.0.1:1/0", "none": None}.get(redis)
        if redis in {"away", "none"}
        else request.getfixturevalue("redis_url")
    )
    service = make_service(sqlite_url, roles=ROLES, redis_url=url)
    if redis in {"warm", "cold"}:
        CacheWatcher().watch(service.units)

    def get_roles():
        if redis == "cold":
            service.units.cache.call(lambda client: client.flushdb())
        return ann.whoami().json["roles"]

    boss, ann = (
        sign_in_with_role(service, "boss", "admin"),
        sign_in_with_role(service, "ann", "reader"),
    )
    grant_membership(boss, ann, "manager")
    update(ann, resource="list", id="7")
    assert get_roles() == ["reader", "list-7-invitee", "list-7-member", "list-7-manager"]
    grant_membership(boss, ann, "invitee")
    assert get_roles() == ["reader"]
    update(ann, resource="list", id="7")
    assert get_roles() == ["reader", "list-7-invitee"]
    assign_role(boss, ann, "editor")
    assert get_roles() == ["editor", "reader"]
    update(ann, resource="list", id="7")
    remove_role(boss, ann, "reader")
    assert get_roles() == ["editor"]
    update(ann, resource="list", id="7")
    assert get_roles() == ["editor", "list-7-invitee"]
    revoke_membership(boss, ann)
    assert get_roles() == ["editor"]
    assert update(ann, resource="list", id="7").json["roles"] == ["editor"]


@pytest.mark.parametrize("used", [True, False])
def test_token_holds_twenty_roles_and_the_rest_need_a_role_check(
    request, make_service, sqlite_url, used
):
    service = make_service(
        sqlite_url, roles=MANY, redis_url=request.getfixturevalue("redis_url") if used else None
    )
    if used:
        CacheWatcher().watch(service.units)
    boss, ann = (
        sign_in_with_role(service, "boss", "admin"),
        sign_in_with_role(service, "ann", *MANY),
    )
    claims = read_claims(ann.access)
    assert (len(claims["roles"]), claims["roles_truncated"]) == (20, True)
    for _ in range(2):
        assert ann.whoami().json["roles"] == sorted(MANY)
    assert ann.tokens["account"]["roles"] == sorted(MANY)
    grant_membership(boss, ann, "member")
    assert update(ann, resource="list", id="7").json["roles"] == [
        *sorted(MANY),
        "list-7-invitee",
        "list-7-member",
    ]
    assert ann.whoami().json["roles"] == sorted(MANY)
    remove_role(boss, ann, "role24")
    assert ann.whoami().json["roles"] == sorted(MANY)[:24]


def test_roles_over_two_kilobytes_are_left_out(make_service, sqlite_url):
    levels = tuple(f"l{number:031}" for number in range(19))
    service = make_service(
        sqlite_url, roles=ROLES, privacy_levels=levels, managing_level=levels[-1]
    )
    boss, ann = sign_in_with_role(service, "boss", "admin"), service.actor("ann").sign_in()
    thing = "r" * 32, "i" * 64
    grant_membership(boss, ann, levels[-1], resource="/".join(thing))
    response = update(ann, resource=thing[0], id=thing[1]).json
    assert len(response["roles"]) == 18
    claims = read_claims(ann.access)
    assert claims["roles_truncated"] is True
    assert 1024 < len(",".join(claims["roles"])) <= 2048
    assert len(ann.access) < 4096
    assert ann.whoami().json["roles"] == []


def test_token_excludes_roles_of_other_accounts(boss, ann, service):
    bob = service.actor("bob").sign_in()
    grant_membership(boss, bob, "secret")
    assert update(ann, resource="list", id="7").json["roles"] == []
    assert get_account_id(ann) == read_claims(ann.access)["sub"]
