"""Global roles: assignment, effect at the next check, and permissions to read them."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from sqlalchemy import event, text

from app.server.cache_watcher import CacheWatcher
from app.settings import SettingsError
from tests.actors import build_settings
from tests.authorization import (
    ROLES,
    assign_role,
    create_key,
    get_account_id,
    grant_membership,
    list_roles,
    remove_role,
    sign_in_with_role,
)

UNKNOWN = "acc_" + "0" * 22


@pytest.fixture
def service(make_service, database_url):
    return make_service(database_url, roles=ROLES).freeze_clock()


@pytest.fixture(params=["warm", "cold", "away", "none"])
def any_redis(request, make_service, sqlite_url):
    """Services whose Redis has entries, was flushed, does not answer, or does not exist."""
    if request.param == "none":
        yield make_service(sqlite_url, roles=ROLES), lambda: None
        return
    url = request.getfixturevalue("redis_url")
    service = make_service(
        sqlite_url,
        roles=ROLES,
        redis_url="redis://127.0.0.1:1/0" if request.param == "away" else url,
    )
    if request.param != "away":
        CacheWatcher().watch(service.units)
    forget = (
        (lambda: service.units.cache.call(lambda client: client.flushdb()))
        if request.param == "cold"
        else (lambda: None)
    )
    yield service, forget


@contextmanager
def count_statements(service):
    counts = [0]

    def count_statement(*_):
        counts[0] += 1

    event.listen(service.units.database.engine, "before_cursor_execute", count_statement)
    yield counts
    event.remove(service.units.database.engine, "before_cursor_execute", count_statement)


def check(actor, *checks, token=None):
    return actor.post("/v1/roles/check", {"checks": list(checks)}, token=token or actor.access)


def test_role_changes_apply_at_the_next_check(any_redis):
    service, forget = any_redis
    boss, ann = sign_in_with_role(service, "boss", "admin"), service.actor("ann").sign_in()
    assert ann.whoami().json["roles"] == []
    assert assign_role(boss, ann, "editor").status_code == 204
    forget()
    assert ann.whoami().json["roles"] == ["editor"]
    assert ann.whoami().json["scopes"] == []  # a token contains the maximum
    ann.tokens |= ann.post("/v1/token/update", token=ann.access).json
    assert ann.whoami().json["scopes"] == ["articles:read", "articles:write"]
    assert remove_role(boss, ann, "editor").status_code == 204
    forget()
    principal = ann.whoami().json
    assert (principal["roles"], principal["scopes"]) == ([], [])


def test_removed_role_is_refused_even_if_the_token_names_it(any_redis):
    service, forget = any_redis
    boss, eve = (
        sign_in_with_role(service, "boss", "admin"),
        sign_in_with_role(service, "eve", "admin"),
    )
    ann = service.actor("ann").sign_in()
    assert assign_role(eve, ann, "reader").status_code == 204
    assert remove_role(boss, eve, "admin").status_code == 204
    forget()
    assert assign_role(eve, ann, "editor").status_code == 403
    assert eve.whoami().json["roles"] == []
    assert ann.whoami().json["roles"] == ["reader"]


def test_key_follows_the_current_roles_of_its_owner(any_redis):
    service, forget = any_redis
    boss, ann = (
        sign_in_with_role(service, "boss", "admin"),
        sign_in_with_role(service, "ann", "editor"),
    )
    key = create_key(ann, "articles:read", "articles:write")
    assert ann.whoami(key).json["scopes"] == ["articles:read", "articles:write"]
    assign_role(boss, ann, "reader")
    remove_role(boss, ann, "editor")
    forget()
    assert ann.whoami(key).json["scopes"] == ["articles:read"]


def test_put_and_delete_are_idempotent(service):
    boss, ann = sign_in_with_role(service, "boss", "admin"), service.actor("ann").sign_in()
    for _ in range(2):
        assert assign_role(boss, ann, "editor").status_code == 204
    assert service.scalar("SELECT roles_version FROM accounts WHERE username = 'ann'") == 1
    for _ in range(2):
        assert remove_role(boss, ann, "editor").status_code == 204
    assert service.scalar("SELECT roles_version FROM accounts WHERE username = 'ann'") == 2
    assert list_roles(boss, ann, "") == []


def test_each_change_is_audited_with_its_actor(service):
    boss, ann = sign_in_with_role(service, "boss", "admin"), service.actor("ann").sign_in()
    assign_role(boss, ann, "editor")
    remove_role(boss, ann, "editor")
    with service.open_database() as db:
        rows = db.execute(
            text(
                "SELECT event, account_id, detail FROM audit WHERE event LIKE 'role.%' ORDER BY id DESC LIMIT 2"
            )
        ).all()
    assert [row.event for row in rows] == ["role.revoked", "role.granted"]
    assert {row.account_id for row in rows} == {get_account_id(ann)}
    assert all(
        get_account_id(boss) in str(row.detail) and "editor" in str(row.detail) for row in rows
    )


@pytest.mark.parametrize("role", ["nobody-has-this", "Admin", "list-7-member", "%00", "a" * 3000])
def test_unknown_role_is_an_error(sqlite_service, role):
    boss, ann = (
        sign_in_with_role(sqlite_service, "boss", "admin"),
        sqlite_service.actor("ann").sign_in(),
    )
    for ask in (assign_role, remove_role):
        answer = ask(boss, ann, role)
        assert (answer.status_code, answer.json["code"]) == (422, "validation_failed")
    assert list_roles(boss, ann, "") == []


@pytest.mark.parametrize("unknown", [UNKNOWN, "x", "ses_" + "0" * 22, "%00"])
def test_unknown_account_is_not_found(service, unknown):
    boss = sign_in_with_role(service, "boss", "admin")
    for method in ("PUT", "DELETE"):
        assert (
            boss.call(method, f"/v1/accounts/{unknown}/roles/editor", token=boss.access).status_code
            == 404
        )
    assert boss.get(f"/v1/accounts/{unknown}/roles", token=boss.access).status_code == 404


def test_role_changes_require_an_admin_with_recent_authentication(service):
    boss, ann = (
        sign_in_with_role(service, "boss", "admin"),
        sign_in_with_role(service, "ann", "editor"),
    )
    for ask in (assign_role, remove_role):
        assert ask(ann, ann, "admin").status_code == 403
    key = create_key(boss, "roles:read", "memberships:write:*")
    assert (
        boss.call("PUT", f"/v1/accounts/{get_account_id(ann)}/roles/admin", token=key).status_code
        == 403
    )
    service.clock.push(seconds=301)
    boss.refresh()
    boss.tokens = boss.refresh().json
    answer = assign_role(boss, ann, "admin")
    assert (answer.status_code, answer.json["code"]) == (401, "reauthentication_required")
    assert 'max_age="300"' in answer.headers["WWW-Authenticate"]
    boss.tokens |= boss.post("/v1/elevate", {"password": boss.password}, token=boss.access).json
    assert assign_role(boss, ann, "admin").status_code == 204
    assert ann.whoami().json["roles"] == ["admin", "editor"]


def test_the_last_active_administrator_keeps_the_role(service):
    boss, eve = (
        sign_in_with_role(service, "boss", "admin"),
        sign_in_with_role(service, "eve", "admin"),
    )
    service.scalar("UPDATE accounts SET status = 'disabled' WHERE username = 'eve' RETURNING id")
    answer = remove_role(boss, boss, "admin")
    assert (answer.status_code, answer.json["code"]) == (409, "last_admin")
    assert boss.whoami().json["roles"] == ["admin"]
    assert (
        remove_role(boss, eve, "admin").status_code == 204
    )  # a disabled administrator does not count
    ann = service.actor("ann").sign_in()
    assign_role(boss, ann, "admin")
    assert remove_role(boss, boss, "admin").status_code == 204
    assert boss.whoami().json["roles"] == []


def test_role_removed_from_the_setting_grants_nothing_and_can_be_removed(make_service, sqlite_url):
    before = make_service(sqlite_url, roles=ROLES)
    ann = sign_in_with_role(before, "ann", "editor")
    key = create_key(ann, "articles:write")
    after = make_service(sqlite_url, roles={"reader": ROLES["reader"]})
    boss = sign_in_with_role(after, "boss", "admin")
    ann.service = after
    assert ann.whoami().json["scopes"] == []
    assert ann.whoami(key).json["scopes"] == []
    assert check(boss, {"account_id": get_account_id(ann), "role": "editor"}).status_code == 422
    assert remove_role(boss, ann, "editor").status_code == 204
    assert remove_role(boss, ann, "editor").status_code == 422
    assert list_roles(boss, ann, "") == []


@pytest.mark.parametrize(
    ("role", "refused"),
    [
        ("list-7-member", True),
        ("a-b-c-secret", True),
        ("team-member", False),
        ("list-7-owner", False),
    ],
)
def test_role_names_cannot_look_like_memberships(role, refused):
    """Otherwise a manager of that resource could grant the role."""
    if not refused:
        assert build_settings("sqlite://", roles={role: ()}).roles
        return
    with pytest.raises(SettingsError) as caught:
        build_settings("sqlite://", roles={role: ()})
    assert [fault.partition(":")[0] for fault in caught.value.faults] == ["DOORWARD_ROLES"]


# Sessions with a scope.


def test_scoped_session_never_gains_scopes(service):
    boss, ann = (
        sign_in_with_role(service, "boss", "admin"),
        sign_in_with_role(service, "ann", "editor", scope="articles:read other:thing"),
    )
    assert ann.tokens["scope"] == "articles:read"
    assign_role(boss, ann, "founder")
    for tokens in (ann.refresh().json, ann.post("/v1/token/update", token=ann.access).json):
        assert tokens["scope"] == "articles:read"
        assert ann.whoami(tokens["access_token"]).json["scopes"] == ["articles:read"]
    assert ann.get("/v1/me", token=ann.access).json["scopes"] == ["articles:read"]
    assert (
        ann.login().json["scope"]
        == "articles:read articles:write memberships:write:list roles:read"
    )
    assert ann.get("/v1/me", token=ann.access).json["scopes"] == [
        "articles:read",
        "articles:write",
        "memberships:write:list",
        "roles:read",
    ]


def test_scoped_admin_session_cannot_administer(service):
    boss = sign_in_with_role(service, "boss", "admin", scope="roles:read")
    ann = service.actor("ann").sign_in()
    assert boss.tokens["account"]["roles"] == []
    principal = boss.whoami().json
    assert (principal["roles"], principal["scopes"]) == ([], ["roles:read"])
    assert assign_role(boss, ann, "editor").status_code == 403
    assert grant_membership(boss, ann, "member").status_code == 403
    updated = boss.post("/v1/token/update", token=boss.access).json
    assert (updated["roles"], updated["scope"]) == ([], "roles:read")
    assert boss.refresh().json["account"]["roles"] == []
    whole = sign_in_with_role(service, "eve", "admin")
    assign_role(whole, boss, "editor")  # the token has outdated rights now
    assert boss.whoami().json["roles"] == ["editor"]
    assert assign_role(boss, ann, "editor").status_code == 403


# Checks.


def test_roles_are_readable_by_self_admins_and_scope_holders(service):
    boss, ann, bob = (
        sign_in_with_role(service, "boss", "admin"),
        sign_in_with_role(service, "ann", "founder"),
        sign_in_with_role(service, "bob", "editor", "reader"),
    )
    assert list_roles(bob, bob, "") == ["editor", "reader"]
    assert list_roles(boss, bob, "") == ["editor", "reader"]
    assert list_roles(ann, bob, "") == ["editor", "reader"]
    path = f"/v1/accounts/{get_account_id(bob)}/roles"
    assert ann.get(path, headers={"X-API-Key": create_key(ann, "roles:read")}).json == {
        "roles": ["editor", "reader"]
    }
    refused = ann.get(path, headers={"X-API-Key": create_key(ann, "memberships:write:list")})
    assert (refused.status_code, refused.json["code"]) == (403, "insufficient_scope")
    assert 'scope="roles:read"' in refused.headers["WWW-Authenticate"]


def test_caller_without_permission_cannot_probe_accounts(service):
    ann, bob = service.actor("ann").sign_in(), service.actor("bob").sign_in()
    answers = [
        ann.get(f"/v1/accounts/{one}/roles", token=ann.access)
        for one in (get_account_id(bob), UNKNOWN, "x")
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert len({(answer.json["code"], answer.json.get("detail")) for answer in answers}) == 1


@pytest.mark.parametrize(
    "query",
    [
        "?resource=list",
        "?id=7",
        "?resource=List&id=7",
        "?resource=a-b&id=7",
        "?resource=list&id=..",
        "?resource=list&id=a/b",
        "?more=1",
        "?resource=list&id=7&id=8",
        "?resource=list&resource=list&id=7",
        "?resource=&id=",
        "?resource=list&id=%00",
        "?resource=list&id=a,b",
    ],
)
def test_query_without_a_resource_is_an_error(sqlite_service, query):
    ann = sqlite_service.actor("ann").sign_in()
    answer = ann.get(f"/v1/accounts/{get_account_id(ann)}/roles{query}", token=ann.access)
    assert answer.status_code == 422
    assert all(pointer.startswith("/query/") for pointer in answer.json["errors"])


def test_disabled_account_has_no_rights_and_a_deleted_one_is_not_found(service):
    boss, bob = (
        sign_in_with_role(service, "boss", "admin"),
        sign_in_with_role(service, "bob", "editor"),
    )
    grant_membership(boss, bob, "member")
    service.scalar("UPDATE accounts SET status = 'disabled' WHERE username = 'bob' RETURNING id")
    assert list_roles(boss, bob) == []
    assert check(boss, {"account_id": get_account_id(bob), "role": "editor"}).json["decisions"] == [
        False
    ]
    service.scalar("UPDATE accounts SET status = 'deleted' WHERE username = 'bob' RETURNING id")
    assert (
        boss.get(f"/v1/accounts/{get_account_id(bob)}/roles", token=boss.access).status_code == 404
    )
    assert assign_role(boss, bob, "reader").status_code == 404
    assert grant_membership(boss, bob, "member").status_code == 404


def test_hundred_checks_are_answered_in_order_by_three_statements(service):
    boss, ann, bob = (
        sign_in_with_role(service, "boss", "admin"),
        sign_in_with_role(service, "ann", "editor"),
        service.actor("bob").sign_in(),
    )
    grant_membership(boss, ann, "manager", resource="list/7")
    grant_membership(boss, bob, "invitee", resource="list/7")
    checks = [
        ({"account_id": get_account_id(ann), "role": "editor"}, True),
        ({"account_id": get_account_id(bob), "role": "editor"}, False),
        (
            {"account_id": get_account_id(ann), "resource": "list", "id": "7", "level": "manager"},
            True,
        ),
        (
            {"account_id": get_account_id(ann), "resource": "list", "id": "7", "level": "invitee"},
            True,
        ),
        (
            {"account_id": get_account_id(ann), "resource": "list", "id": "7", "level": "secret"},
            False,
        ),
        (
            {"account_id": get_account_id(ann), "resource": "list", "id": "8", "level": "invitee"},
            False,
        ),
        (
            {"account_id": get_account_id(ann), "resource": "lost", "id": "7", "level": "invitee"},
            False,
        ),
        (
            {"account_id": get_account_id(bob), "resource": "list", "id": "7", "level": "member"},
            False,
        ),
        (
            {"account_id": get_account_id(bob), "resource": "any", "id": "1", "level": "public"},
            True,
        ),
        ({"account_id": UNKNOWN, "resource": "any", "id": "1", "level": "public"}, False),
    ]
    with count_statements(service) as counts:
        answer = check(boss, *[question for question, _ in checks * 10])
    assert answer.json["decisions"] == [decision for _, decision in checks * 10]
    # SQLite needs two more statements to begin
    assert counts[0] <= 3 + (service.settings.uses_sqlite * 2)


@pytest.mark.parametrize(
    "question",
    [
        {"role": "nobody-has-this"},
        {"role": ""},
        {"role": "admin", "level": "member"},
        {"resource": "list", "id": "7"},
        {"resource": "list", "id": "7", "level": "owner"},
        {"resource": "list", "id": "7", "level": "Member"},
        {"resource": "a-b", "id": "7", "level": "member"},
        {"resource": "list", "id": "../7", "level": "member"},
        {},
        {"role": "admin", "more": 1},
    ],
)
def test_invalid_check_is_an_error_and_never_a_decision(sqlite_service, question):
    boss = sign_in_with_role(sqlite_service, "boss", "admin")
    fine = {"account_id": get_account_id(boss), "role": "admin"}
    answer = check(boss, fine, {"account_id": get_account_id(boss), **question})
    assert answer.status_code == 422
    assert all(pointer.startswith("/checks/1") for pointer in answer.json["errors"])


def test_batch_takes_1_to_100_checks(sqlite_service):
    ann = sqlite_service.actor("ann").sign_in()
    mine = {"account_id": get_account_id(ann), "role": "admin"}
    assert check(ann).status_code == 422
    assert check(ann, *[mine] * 100).json["decisions"] == [False] * 100
    assert check(ann, *[mine] * 101).status_code == 422


def test_callers_without_the_scope_can_check_only_themselves(service):
    ann, bob, app = (
        service.actor("ann").sign_in(),
        service.actor("bob").sign_in(),
        sign_in_with_role(service, "app", "founder"),
    )
    mine, his = (
        {"account_id": get_account_id(one), "resource": "list", "id": "7", "level": "public"}
        for one in (ann, bob)
    )
    assert check(ann, mine).json["decisions"] == [True]
    assert check(ann, mine, his).status_code == 403
    assert check(ann, {**his, "account_id": UNKNOWN}).status_code == 403
    assert check(app, mine, his, token=create_key(app, "roles:read")).json["decisions"] == [
        True,
        True,
    ]
    assert check(app, mine, token=create_key(app)).status_code == 403
