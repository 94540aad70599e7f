"""Memberships: who can grant which level at which resource, and their role names."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from app.authorization.levels import (
    RESOURCE_ID_PATTERN,
    RESOURCE_PATTERN,
    UnknownLevel,
    build_role_names,
    get_rank_or_lowest,
)
from tests.authorization import (
    ROLES,
    create_key,
    get_account_id,
    grant_membership,
    list_roles,
    revoke_membership,
    sign_in_with_role,
)

LADDER = ("public", "invitee", "member", "manager", "secret")
UNKNOWN = "acc_" + "0" * 22


@pytest.fixture
def service(make_service, database_url):
    return make_service(database_url, roles=ROLES)


@pytest.fixture
def app(service):
    """Create the account of an application that creates lists."""
    return sign_in_with_role(service, "app", "founder")


@pytest.fixture
def ann(service):
    return service.actor("ann").sign_in()


@pytest.fixture
def bob(service):
    return service.actor("bob").sign_in()


@pytest.fixture
def sqlite_app(make_service, sqlite_url):
    return sign_in_with_role(make_service(sqlite_url, roles=ROLES), "app", "founder")


def list_members(actor, thing="list/7", query="", token=None):
    return actor.get(f"/v1/memberships/{thing}{query}", token=token or actor.access)


def get_levels(app) -> dict[str, str]:
    return {item["username"]: item["level"] for item in list_members(app).json["items"]}


@pytest.mark.parametrize(
    ("level", "roles"),
    [
        ("public", []),
        ("invitee", ["list-7-invitee"]),
        ("member", ["list-7-invitee", "list-7-member"]),
        ("manager", ["list-7-invitee", "list-7-member", "list-7-manager"]),
        ("secret", ["list-7-invitee", "list-7-member", "list-7-manager", "list-7-secret"]),
    ],
)
def test_level_includes_all_below_and_everyone_has_the_lowest(service, app, ann, level, roles):
    key = create_key(app, "memberships:write:list")
    assert grant_membership(app, ann, level, token=key).status_code == 204
    assert list_roles(ann, ann) == roles
    assert list_roles(ann, ann, "?resource=list&id=8") == []
    assert list_roles(ann, ann, "?resource=lis&id=7") == []
    assert list_roles(ann, ann, "") == []


def test_new_level_replaces_the_previous_one(app, ann):
    for level in ("member", "secret", "invitee"):
        assert grant_membership(app, ann, level).status_code == 204
        assert get_levels(app) == {"ann": level}
    assert revoke_membership(app, ann).status_code == 204
    assert get_levels(app) == {}
    assert list_roles(ann, ann) == []
    assert revoke_membership(app, ann).status_code == 204


def test_only_a_change_increments_the_rights_version(service, app, ann):
    for act, version in (
        (grant_membership, 1),
        (grant_membership, 1),
        (revoke_membership, 2),
        (revoke_membership, 2),
    ):
        assert act(app, ann, *(["member"] if act is grant_membership else [])).status_code == 204
        assert (
            service.scalar("SELECT roles_version FROM accounts WHERE username = 'ann'") == version
        )


@pytest.mark.parametrize(
    "level",
    ["owner", "Member", "member ", "", "public,secret", "secret-secret", 3, None, ["member"]],
)
def test_unknown_level_is_an_error_and_grants_nothing(sqlite_app, level):
    app, ann = sqlite_app, sqlite_app.service.actor("ann").sign_in()
    answer = grant_membership(app, ann, level)
    assert answer.status_code == 422
    assert list(answer.json["errors"]) == ["/level"]
    assert get_levels(app) == {}
    assert list_roles(ann, ann) == []


@pytest.mark.parametrize(
    "thing",
    [
        "List/7",
        "a-b/7",
        "9list/7",
        "list/.7",
        "list/%20",
        "list/7%00",
        "list/a,b",
        "l" * 33 + "/7",
        "list/" + "7" * 65,
    ],
)
def test_ambiguous_names_are_refused(sqlite_app, thing):
    app, ann = sqlite_app, sqlite_app.service.actor("ann").sign_in()
    assert grant_membership(app, ann, "member", resource=thing).status_code == 422
    assert revoke_membership(app, ann, resource=thing).status_code == 422
    assert list_members(app, thing).status_code == 422


@pytest.mark.parametrize(
    "thing",
    [
        "list/7",
        "list_2/a-b-c",
        "list/0190b3c1-7e2f-7a4b-9d11-2f6a0c3e5b7d",
        "list/-x-",
        "list/_:-.",
        "l/" + "7" * 64,
    ],
)
def test_ids_may_contain_dashes_and_role_names_can_be_parsed(sqlite_service, thing):
    boss, ann = (
        sign_in_with_role(sqlite_service, "boss", "admin"),
        sqlite_service.actor("ann").sign_in(),
    )
    resource, _, resource_id = thing.partition("/")
    assert grant_membership(boss, ann, "member", resource=thing).status_code == 204
    roles = list_roles(ann, ann, f"?resource={resource}&id={resource_id}")
    assert [role.rpartition("-")[2] for role in roles] == ["invitee", "member"]
    for role in roles:
        first, _, rest = role.partition("-")
        assert (first, rest.rpartition("-")[0]) == (resource, resource_id)
    assert RESOURCE_PATTERN.fullmatch(resource)
    assert RESOURCE_ID_PATTERN.fullmatch(resource_id)


@pytest.mark.parametrize("unknown", [UNKNOWN, "x", "%00", "ses_" + "0" * 22])
def test_an_account_that_does_not_exist_is_not_found(app, unknown):
    assert grant_membership(app, unknown, "member").status_code == 404
    assert revoke_membership(app, unknown).status_code == 404


# Permissions.


def test_key_creates_resources_of_its_own_type_only(app, ann):
    key = create_key(app, "memberships:write:list")
    assert grant_membership(app, ann, "secret", token=key).status_code == 204
    answer = grant_membership(app, ann, "member", resource="shop/7", token=key)
    assert (answer.status_code, answer.json["code"]) == (403, "insufficient_scope")
    assert 'scope="memberships:write:shop"' in answer.headers["WWW-Authenticate"]
    assert grant_membership(app, ann, "member", resource="lists/7", token=key).status_code == 403
    assert (
        grant_membership(app, ann, "member", token=create_key(app, "roles:read")).status_code == 403
    )
    assert list_members(app, token=key).status_code == 200
    assert list_members(app, token=create_key(app)).status_code == 403


def test_key_is_not_a_member_and_cannot_leave(app, ann):
    """A key has no memberships of its owner.

    Without the scope it can neither grant nor revoke, not even for its owner.
    """
    grant_membership(app, app, "secret")
    key = create_key(app)
    for answer in (
        grant_membership(app, ann, "invitee", token=key),
        revoke_membership(app, app, token=key),
        list_members(app, token=key),
    ):
        assert (answer.status_code, answer.json["code"]) == (403, "insufficient_scope")
    assert get_levels(app) == {"app": "secret"}


def test_key_creates_no_resource_after_its_owner_lost_the_right(service, app, ann):
    key, boss = (
        create_key(app, "memberships:write:list"),
        sign_in_with_role(service, "boss", "admin"),
    )
    boss.call("DELETE", f"/v1/accounts/{get_account_id(app)}/roles/founder", token=boss.access)
    assert grant_membership(app, ann, "member", token=key).status_code == 403
    assert grant_membership(app, ann, "member").status_code == 403


def test_administrators_can_manage_every_membership(service, ann):
    boss = sign_in_with_role(service, "boss", "admin")
    assert grant_membership(boss, ann, "secret", resource="any/1").status_code == 204
    assert list_members(boss, "any/1").json["items"][0]["level"] == "secret"
    assert revoke_membership(boss, ann, resource="any/1").status_code == 204


# A caller with `own` grants `wanted` to an account that has `present` (None: no membership).
GRANTS = [
    (
        own,
        present,
        wanted,
        LADDER.index(own) >= 3
        and max(LADDER.index(present or "public"), LADDER.index(wanted or "public"))
        <= LADDER.index(own),
    )
    for own in LADDER
    for present in (None, "manager", "secret")
    for wanted in (None, "manager", "secret")
]


def test_managers_change_only_members_up_to_their_own_level(make_service, sqlite_url):
    service = make_service(sqlite_url, roles=ROLES)
    app, ann, bob = (
        sign_in_with_role(service, "app", "founder"),
        service.actor("ann").sign_in(),
        service.actor("bob").sign_in(),
    )
    for own, present, wanted, allowed in GRANTS:
        grant_membership(app, ann, own)
        (revoke_membership(app, bob) if present is None else grant_membership(app, bob, present))
        answer = (
            revoke_membership(ann, bob) if wanted is None else grant_membership(ann, bob, wanted)
        )
        assert answer.status_code == (204 if allowed else 403), (own, present, wanted)
        assert get_levels(app).get("bob") == (wanted if allowed else present), (
            own,
            present,
            wanted,
        )


def test_manager_of_one_resource_cannot_manage_another(app, ann, bob):
    grant_membership(app, ann, "secret", resource="list/7")
    for thing in ("list/8", "lists/7", "list/07"):
        assert grant_membership(ann, bob, "invitee", resource=thing).status_code == 403
        assert list_members(ann, thing).status_code == 403


def test_members_cannot_add_or_promote_themselves_but_can_leave(app, ann):
    assert grant_membership(ann, ann, "invitee").status_code == 403
    assert revoke_membership(ann, ann).status_code == 204  # already left
    for level in ("invitee", "member", "manager"):
        grant_membership(app, ann, level)
        assert grant_membership(ann, ann, "secret").status_code == 403
        assert revoke_membership(ann, ann).status_code == 204
        assert list_roles(ann, ann) == []
        assert grant_membership(ann, ann, level).status_code == 403


def test_caller_without_permission_cannot_probe_accounts(ann, bob):
    answers = [grant_membership(ann, one, "member") for one in (bob, UNKNOWN, "x")]
    assert {answer.status_code for answer in answers} == {403}
    assert len({(answer.json["code"], answer.json["detail"]) for answer in answers}) == 1


def test_levels_and_managing_level_are_configurable(make_service, sqlite_url):
    service = make_service(
        sqlite_url,
        roles=ROLES,
        privacy_levels=("anyone", "friend", "owner"),
        managing_level="owner",
    )
    app, ann, bob = (
        sign_in_with_role(service, "app", "founder"),
        service.actor("ann").sign_in(),
        service.actor("bob").sign_in(),
    )
    assert grant_membership(app, ann, "member").status_code == 422
    assert grant_membership(app, ann, "friend").status_code == 204
    assert grant_membership(ann, bob, "friend").status_code == 403
    assert grant_membership(app, ann, "owner").status_code == 204
    assert grant_membership(ann, bob, "owner").status_code == 204
    assert list_roles(bob, bob) == ["list-7-friend", "list-7-owner"]


def test_level_removed_from_the_setting_grants_nothing(make_service, sqlite_url):
    before = make_service(sqlite_url, roles=ROLES)
    app, ann, bob = (
        sign_in_with_role(before, "app", "founder"),
        before.actor("ann").sign_in(),
        before.actor("bob").sign_in(),
    )
    grant_membership(app, ann, "manager")
    after = make_service(
        sqlite_url,
        roles=ROLES,
        privacy_levels=("public", "invitee", "owner"),
        managing_level="invitee",
    )
    for actor in (app, ann, bob):
        actor.service = after
    assert list_roles(ann, ann) == []
    assert grant_membership(ann, bob, "invitee").status_code == 403
    check = {"account_id": get_account_id(ann), "resource": "list", "id": "7", "level": "invitee"}
    assert ann.post("/v1/roles/check", {"checks": [check]}, token=ann.access).json == {
        "decisions": [False]
    }
    assert (
        ann.post("/v1/token/update", {"resource": "list", "id": "7"}, token=ann.access).json[
            "roles"
        ]
        == []
    )
    grant_membership(app, bob, "invitee")
    assert grant_membership(bob, ann, "invitee").status_code == 204


# The list.


def test_list_continues_at_its_cursor(service, app):
    people = [service.actor(f"guest{number}").sign_in() for number in range(5)]
    for one in people:
        grant_membership(app, one, "member")
    found, cursor = [], ""
    while cursor is not None:
        part = list_members(app, query=f"?limit=2{'&cursor=' + cursor if cursor else ''}").json
        assert len(part["items"]) <= 2
        found += part["items"]
        cursor = part["next"]
        if len(found) == 2:
            # changes to rows already shown move nothing
            revoke_membership(app, found[0]["account_id"])
    assert [item["account_id"] for item in found] == sorted(get_account_id(one) for one in people)
    assert set(found[0]) == {"account_id", "username", "level", "granted_at"}


def test_forged_cursor_or_cursor_of_another_list_is_rejected(service, app, ann, bob):
    for thing in ("list/7", "list/8"):
        grant_membership(app, ann, "member", resource=thing)
        grant_membership(app, bob, "member", resource=thing)
    cursor = list_members(app, query="?limit=1").json["next"]
    assert list_members(app, query=f"?cursor={cursor}").status_code == 200
    assert list_members(app, "list/8", f"?cursor={cursor}").status_code == 422
    for made_up in ("x", cursor[:-1], cursor + "0", "YWNj." + cursor.partition(".")[2], "%FF", "."):
        answer = list_members(app, query=f"?cursor={made_up}")
        assert (answer.status_code, list(answer.json["errors"])) == (422, ["/query/cursor"])


@pytest.mark.parametrize(
    "query",
    [
        "?limit=0",
        "?limit=101",
        "?limit=-1",
        "?limit=1_0",
        "?limit=%202",
        "?limit=x",
        "?limit=1&limit=2",
        "?page=2",
    ],
)
def test_invalid_list_query_is_an_error(sqlite_app, query):
    assert list_members(sqlite_app, query=query).status_code == 422


def test_members_at_the_managing_level_see_the_list(service, app, ann, bob):
    reader = sign_in_with_role(service, "reader", "founder", scope="roles:read")
    grant_membership(app, bob, "invitee")
    for level, status in (("invitee", 403), ("member", 403), ("manager", 200), ("secret", 200)):
        grant_membership(app, ann, level)
        assert list_members(ann).status_code == status
    assert list_members(reader).status_code == 200
    assert grant_membership(reader, bob, "member").status_code == 403


def test_membership_of_a_deleted_account_is_not_listed(service, app, ann, bob):
    grant_membership(app, ann, "member")
    grant_membership(app, bob, "member")
    service.scalar("UPDATE accounts SET status = 'deleted' WHERE username = 'bob' RETURNING id")
    assert get_levels(app) == {"ann": "member"}


def test_each_change_is_audited_with_its_api_key(service, app, ann):
    key = create_key(app, "memberships:write:list")
    grant_membership(app, ann, "member", token=key)
    revoke_membership(ann, ann)
    with service.open_database() as db:
        rows = db.execute(
            text(
                "SELECT event, account_id, detail FROM audit WHERE event LIKE 'membership.%' ORDER BY id"
            )
        ).all()
    assert [row.event for row in rows] == ["membership.granted", "membership.ended"]
    assert all(
        row.account_id == get_account_id(ann) and "list-7-member" in str(row.detail) for row in rows
    )
    assert f"key_{key.split('_')[1]}" in str(rows[0].detail)
    assert get_account_id(ann) in str(rows[1].detail)


def test_level_comparison_rules():
    assert build_role_names(LADDER, "list", "7", "member") == ("list-7-invitee", "list-7-member")
    assert build_role_names(LADDER, "list", "7", "public") == ()
    with pytest.raises(UnknownLevel):
        build_role_names(LADDER, "list", "7", "owner")
    assert [get_rank_or_lowest(LADDER, level) for level in (None, "owner", "public", "secret")] == [
        0,
        0,
        0,
        4,
    ]
