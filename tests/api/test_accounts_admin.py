"""Administrators find, create, disable and restore accounts, and the limits of their permissions."""

from __future__ import annotations

import base64
import time

import pytest
from sqlalchemy import event

from tests.actors import EXPENSIVE_HASH, PASSWORD, WRONG_PASSWORD
from tests.administrators import create_administrator, get_account_id
from tests.request_cost import record_request

FIELDS = {
    "id",
    "username",
    "email",
    "name",
    "locale",
    "status",
    "roles",
    "must_change_password",
    "created_at",
    "last_login_at",
    "deleted_at",
}
OTHER = "wagon speed jailhouse koala reformist"
NOBODYS = "acc_" + "0" * 22
WRITES = [
    ("POST", "/v1/accounts", {"username": "carl", "email": "carl@example.org", "name": "Carl"}),
    ("PATCH", "/v1/accounts/{id}", {"status": "disabled"}),
    ("DELETE", "/v1/accounts/{id}", None),
    ("POST", "/v1/accounts/{id}/end-sessions", None),
    ("POST", "/v1/accounts/{id}/send-reset", None),
]
READS = [
    ("GET", "/v1/accounts", None),
    ("GET", "/v1/accounts/{id}", None),
    ("GET", "/v1/audit", None),
]


@pytest.fixture
def boss(service):
    return create_administrator(service)


@pytest.fixture
def sqlite_boss(sqlite_service):
    return create_administrator(sqlite_service)


def send(actor, method, path, body=None, **kwargs):
    return (
        actor.call(method, path, json=body, token=actor.access, **kwargs)
        if body is not None
        else actor.call(method, path, token=actor.access)
    )


def update_account(boss, account_id, **body):
    return send(boss, "PATCH", f"/v1/accounts/{account_id}", body)


def create(boss, name="carl", **changes):
    return send(
        boss,
        "POST",
        "/v1/accounts",
        {"username": name, "email": f"{name}@example.org", "name": name.title(), **changes},
    )


def create_key(actor, **changes):
    answer = actor.post(
        "/v1/api-keys", {"name": "job", "scopes": [], **changes}, token=actor.access
    )
    assert answer.status_code == 201
    return answer.json["key"]


def get_status_with_key(actor, key):
    return actor.get("/v1/whoami", headers={"X-API-Key": key}).status_code


def list_events(service, name):
    with service.open_database() as db:
        found = (
            db.connection()
            .exec_driver_sql("SELECT event, account_id, detail FROM audit ORDER BY id")
            .all()
        )
    return [row for row in found if row[0] == name]


# Permissions.


def test_only_an_administrator_session_is_accepted(sqlite_service, sqlite_boss):
    ann = sqlite_service.actor("ann").sign_in()
    key = create_key(sqlite_boss)
    for method, rule, body in WRITES + READS:
        path = rule.format(id=get_account_id(ann))
        assert ann.call(method, path, json=body).status_code == 401, rule
        assert send(ann, method, path, body).status_code == 403, rule
        assert ann.call(method, path, json=body, headers={"X-API-Key": key}).status_code == 403, (
            rule
        )
    assert sqlite_service.scalar("SELECT count(*) FROM accounts WHERE status = 'active'") == 2
    assert ann.whoami().status_code == 200


def test_writes_require_recent_authentication(sqlite_service, sqlite_boss):
    account_id = get_account_id(sqlite_service.actor("ann").sign_up())
    sqlite_service.clock.push(minutes=6)
    sqlite_boss.tokens = sqlite_boss.refresh().json
    for method, rule, body in WRITES:
        refused = send(sqlite_boss, method, rule.format(id=account_id), body)
        assert (refused.status_code, refused.json["code"]) == (401, "reauthentication_required"), (
            rule
        )
        assert 'error="insufficient_user_authentication"' in refused.headers["WWW-Authenticate"]
        assert 'max_age="300"' in refused.headers["WWW-Authenticate"]
    assert send(sqlite_boss, "GET", f"/v1/accounts/{account_id}").json["status"] == "active"
    sqlite_boss.tokens = sqlite_boss.post(
        "/v1/elevate", {"password": PASSWORD}, token=sqlite_boss.access
    ).json
    for method, rule, body in (WRITES[0], WRITES[4], WRITES[3], WRITES[1], WRITES[2]):
        assert send(sqlite_boss, method, rule.format(id=account_id), body).status_code < 300, rule


# Search.


def test_account_is_shown_with_roles_and_without_secrets(service, boss):
    ann = service.actor("ann").sign_in()
    account = send(boss, "GET", f"/v1/accounts/{get_account_id(ann)}").json
    assert set(account) == FIELDS
    assert account == {
        **account,
        "username": "ann",
        "email": "ann@example.org",
        "status": "active",
        "roles": [],
        "deleted_at": None,
    }
    assert send(boss, "GET", f"/v1/accounts/{get_account_id(boss)}").json["roles"] == ["admin"]
    listed = send(boss, "GET", "/v1/accounts").json
    assert [item["username"] for item in listed["items"]] == ["boss", "ann"]
    assert listed["items"][1] == account
    assert listed["next"] is None
    for unknown in (NOBODYS, "x", "acc_"):
        assert send(boss, "GET", f"/v1/accounts/{unknown}").status_code == 404


def test_search_matches_names_and_emails_and_ignores_wildcards(service, boss):
    for name in ("ann", "joanne", "bob_"):
        service.actor(name).sign_up()
        service.units.limiter.reset()
    update_account(boss, get_account_id(service.actor("ann")), status="disabled")

    def find_usernames(query):
        return [
            item["username"] for item in send(boss, "GET", f"/v1/accounts?{query}").json["items"]
        ]

    assert find_usernames("q=ANN") == ["ann", "joanne"]
    assert find_usernames("q=Joanne@EXAMPLE") == ["joanne"]
    assert find_usernames("q=%25") == []
    assert find_usernames("q=_") == ["bob_"]
    assert find_usernames("q=%5C") == []
    assert find_usernames("status=disabled") == ["ann"]
    assert find_usernames("q=ann&status=active") == ["joanne"]
    assert find_usernames("role=admin") == ["boss"]
    assert find_usernames("role=nothing") == []


def test_invalid_query_is_rejected(sqlite_boss):
    for query in [
        "q=",
        "q=%00",
        "q=a%E2%80%8Bb",
        "status=gone",
        "limit=0",
        "limit=101",
        "limit=x",
        "cursor=x",
        "q=a&q=b",
        "sort=id",
    ]:
        assert send(sqlite_boss, "GET", f"/v1/accounts?{query}").status_code == 422, query


def test_pages_stay_complete_while_accounts_are_added(service, boss):
    for number in range(4):
        assert create(boss, f"user{number}").status_code == 201
    seen, cursor = [], ""
    for number in range(10):
        page = send(boss, "GET", f"/v1/accounts?limit=2{cursor}").json
        seen += [item["username"] for item in page["items"]]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
        if number == 0:
            assert create(boss, "late").status_code == 201
    assert seen == ["boss", "user0", "user1", "user2", "user3", "late"]


def test_forged_cursor_or_cursor_of_another_list_is_rejected(sqlite_boss):
    for number in range(2):
        create(sqlite_boss, f"user{number}")
    good = send(sqlite_boss, "GET", "/v1/accounts?limit=1").json["next"]
    body, _, mac = good.partition(".")
    forged = base64.urlsafe_b64encode(b"2020-01-01T00:00:00+00:00 acc_").rstrip(b"=").decode()
    for cursor in (
        f"{forged}.{mac}",
        body,
        f"{body}.",
        f"{body}.{'0' * 32}",
        send(sqlite_boss, "GET", "/v1/audit?limit=1").json["next"],
    ):
        assert send(sqlite_boss, "GET", f"/v1/accounts?limit=1&cursor={cursor}").status_code == 422


def test_page_takes_one_statement(service, boss):
    for number in range(5):
        create(boss, f"user{number}")
    statements = []

    def note(_connection, _cursor, statement, *_):
        statements.append(statement)

    event.listen(service.units.database.engine, "before_cursor_execute", note)
    assert len(send(boss, "GET", "/v1/accounts").json["items"]) == 6
    event.remove(service.units.database.engine, "before_cursor_execute", note)
    assert len([each for each in statements if "FROM accounts" in each]) == 1


# Creation.


def test_created_account_belongs_to_its_user_alone(service, boss):
    answer = create(boss, "carl", locale="de", email="Carl@Example.org")
    assert answer.status_code == 201
    assert answer.json == {
        **answer.json,
        "username": "carl",
        "email": "Carl@example.org",
        "status": "active",
        "last_login_at": None,
    }
    carl = service.actor("carl", email="Carl@example.org")
    for guess in (PASSWORD, "", " "):
        assert carl.login(password=guess).status_code in {401, 422}
    mail = carl.mail()
    assert (mail["template"], mail["language"]) == ("invitation", "de")
    assert "carl" in mail["text"]
    token = mail["links"][0].rpartition("/")[2]
    assert mail["links"][0].startswith("http://127.0.0.1:8080/reset/")
    service.clock.push(hours=71)
    assert carl.get(f"/reset/{token}").status_code == 200
    assert carl.reset(OTHER, token=token).status_code == 204
    assert carl.login().status_code == 200
    assert carl.tokens["account"]["roles"] == []
    assert carl.reset(PASSWORD, token=token).status_code == 400
    created = list_events(service, "account.created")
    assert len(created) == 1
    assert get_account_id(boss) in str(created[0][2])


def test_invitation_expires_after_three_days_and_can_be_resent(sqlite_service, sqlite_boss):
    account_id = create(sqlite_boss).json["id"]
    carl = sqlite_service.actor("carl")
    old = carl.get_mailed_token()
    sqlite_service.clock.push(hours=73)
    assert carl.reset(OTHER, token=old).status_code == 400
    sqlite_boss.login()
    assert send(sqlite_boss, "POST", f"/v1/accounts/{account_id}/send-reset").status_code == 202
    assert carl.mail()["template"] == "invitation"
    assert carl.reset(OTHER, token=carl.get_mailed_token()).status_code == 204


def test_reset_requested_by_a_stranger_keeps_the_invitation_valid(sqlite_service, sqlite_boss):
    assert create(sqlite_boss).status_code == 201
    assert (
        sqlite_service.actor("stranger")
        .post("/v1/password/forgot", {"username": "carl"})
        .status_code
        == 202
    )
    sqlite_service.clock.push(hours=71)
    carl = sqlite_service.actor("carl")
    assert carl.mail()["template"] == "invitation"
    assert carl.reset(OTHER, token=carl.get_mailed_token()).status_code == 204


def test_account_can_be_created_with_roles_while_registration_is_closed(make_service, database_url):
    service = make_service(database_url, roles={"editor": ("texts:write",)})
    boss = create_administrator(service)
    closed = make_service(database_url, roles={"editor": ("texts:write",)}, registration="closed")
    chief = closed.actor("boss")
    assert chief.login().status_code == 200
    assert create(chief, roles=["editor", "editor"]).json["roles"] == ["editor"]
    unknown = create(chief, "dora", roles=["editor", "king"])
    assert (unknown.status_code, list(unknown.json["errors"])) == (422, ["/roles/1"])
    carl = closed.actor("carl")
    carl.reset(OTHER, token=carl.get_mailed_token())
    assert carl.login().json["scope"] == "texts:write"
    assert list_events(service, "role.granted")[-1][1] == get_account_id(carl)
    del boss


def test_taken_names_and_emails_are_rejected_by_field(service, boss):
    service.actor("ann").sign_up()
    service.actor("newcomer").register()
    response = create(boss, "ann", email="other@example.org")
    assert (response.status_code, response.json["code"]) == (409, "username_taken")
    assert create(boss, "newcomer", email="third@example.org").json["code"] == "username_taken"
    known = create(boss, "anna", email="ANN@example.org")
    assert (known.status_code, known.json["code"]) == (409, "email_taken")
    assert service.mailbox("other@example.org") == []
    assert service.scalar("SELECT count(*) FROM accounts") == 2


def test_account_is_created_only_with_valid_fields(sqlite_service, sqlite_boss):
    unacceptable = [
        ({"username": "admin"}, "/username"),
        ({"username": "x"}, "/username"),
        ({"email": "nowhere"}, "/email"),
        ({"name": ""}, "/name"),
        ({"locale": "?"}, "/locale"),
        ({"roles": ["x"] * 21}, "/roles"),
        ({"roles": "admin"}, "/roles"),
        ({"password": OTHER}, "/password"),
        ({"password_hash": "x"}, "/password_hash"),
        ({"status": "disabled"}, "/status"),
    ]
    for changes, pointer in unacceptable:
        refused = create(sqlite_boss, **changes)
        assert refused.status_code == 422, changes
        assert pointer in refused.json["errors"]
    assert sqlite_service.scalar("SELECT count(*) FROM accounts") == 1


def test_registration_cannot_take_the_email_of_a_created_account(sqlite_service, sqlite_boss):
    squatter = sqlite_service.actor("squatter", email="carl@example.org")
    assert squatter.register().status_code == 202
    code = squatter.mail()["code"]
    assert create(sqlite_boss).status_code == 201
    assert squatter.confirm(code=code).status_code == 400


# Disabling and forced password changes.


def test_disabled_account_loses_access_at_once_and_for_good(service, boss):
    ann = service.actor("ann").sign_in()
    key, account_id = create_key(ann), get_account_id(ann)
    ann.request_password_reset()
    link, old = ann.get_reset_token(), dict(ann.tokens)
    answer = update_account(boss, account_id, status="disabled")
    assert (answer.status_code, answer.json["status"]) == (200, "disabled")
    assert ann.whoami().status_code == 401
    assert ann.refresh().status_code == 400
    assert get_status_with_key(ann, key) == 401
    assert ann.login().json["code"] == "invalid_credentials"
    assert ann.reset(OTHER, token=link).status_code == 400
    ann.request_password_reset()
    assert (
        service.mailbox(ann.email)[0]["text"].count("/reset/") == 1
    )  # the old link, because no other was sent

    assert update_account(boss, account_id, status="active").json["status"] == "active"
    assert ann.whoami(old["access_token"]).status_code == 401
    assert ann.refresh(old["refresh_token"]).status_code == 400
    assert ann.reset(OTHER, token=link).status_code == 400
    assert get_status_with_key(ann, key) == 200
    assert ann.login().status_code == 200
    assert [
        name
        for name in ("account.disabled", "account.enabled")
        if len(list_events(service, name)) == 1
    ] == ["account.disabled", "account.enabled"]
    assert get_account_id(boss) in str(list_events(service, "account.disabled")[0][2])


def test_update_without_a_change_has_no_effect(sqlite_service, sqlite_boss):
    ann = sqlite_service.actor("ann").sign_in()
    before = sqlite_service.scalar("SELECT epoch FROM accounts WHERE username = 'ann'")
    assert (
        update_account(
            sqlite_boss, get_account_id(ann), status="active", must_change_password=False
        ).status_code
        == 200
    )
    assert update_account(sqlite_boss, get_account_id(ann)).status_code == 200
    assert ann.whoami().status_code == 200
    assert sqlite_service.scalar("SELECT epoch FROM accounts WHERE username = 'ann'") == before


def test_forced_password_change_signs_out_and_requires_a_new_password(service, boss):
    ann = service.actor("ann").sign_in()
    assert (
        update_account(boss, get_account_id(ann), must_change_password=True).json[
            "must_change_password"
        ]
        is True
    )
    assert ann.whoami().status_code == 401
    assert ann.refresh().status_code == 400
    refused = ann.login()
    assert (refused.status_code, refused.json["code"]) == (403, "password_change_required")
    assert ann.reset(OTHER, token=refused.json["reset_token"]).status_code == 204
    assert ann.login().status_code == 200
    assert (
        send(boss, "GET", f"/v1/accounts/{get_account_id(ann)}").json["must_change_password"]
        is False
    )


def test_forced_password_change_can_be_withdrawn(sqlite_service, sqlite_boss):
    ann = sqlite_service.actor("ann").sign_up()
    update_account(sqlite_boss, get_account_id(ann), must_change_password=True)
    assert ann.login().status_code == 403
    assert (
        update_account(sqlite_boss, get_account_id(ann), must_change_password=False).status_code
        == 200
    )
    assert ann.login().status_code == 200


def test_administrators_cannot_change_other_fields(sqlite_service, sqlite_boss):
    ann = sqlite_service.actor("ann").sign_in()
    bodies = [
        {"status": "deleted"},
        {"status": None},
        {"must_change_password": 1},
        {"password": OTHER},
        {"new_password": OTHER},
        {"password_hash": ""},
        {"email": "a@b.org"},
        {"username": "other"},
        {"roles": ["admin"]},
        {"epoch": 1},
        {"id": NOBODYS},
    ]
    for body in bodies:
        assert update_account(sqlite_boss, get_account_id(ann), **body).status_code == 422, body
    assert ann.whoami().status_code == 200


def test_unknown_account_ids_are_not_found(sqlite_boss):
    for method, path, body in WRITES[1:]:
        for account_id in (NOBODYS, "x"):
            assert send(sqlite_boss, method, path.format(id=account_id), body).status_code == 404


# Resets and sessions.


def test_revoking_sessions_signs_out_everywhere_and_keeps_api_keys(service, boss):
    ann = service.actor("ann").sign_in()
    other, key = ann.from_another_address(), create_key(ann)
    other.login()
    assert send(boss, "POST", f"/v1/accounts/{get_account_id(ann)}/end-sessions").status_code == 204
    assert [each.whoami().status_code for each in (ann, other)] == [401, 401]
    assert get_status_with_key(ann, key) == 200
    assert ann.login().status_code == 200
    assert (
        send(boss, "POST", f"/v1/accounts/{get_account_id(boss)}/end-sessions").status_code == 204
    )
    assert boss.whoami().status_code == 401


def test_reset_is_emailed_to_the_owner_and_shown_to_no_one_else(service, boss):
    ann = service.actor("ann").sign_in()
    answer = send(boss, "POST", f"/v1/accounts/{get_account_id(ann)}/send-reset")
    assert answer.status_code == 202
    token = ann.get_reset_token()
    assert token not in answer.text
    assert ann.whoami().status_code == 200
    assert ann.reset(OTHER, token=token).status_code == 204
    assert ann.whoami().status_code == 401
    assert ann.login().status_code == 200
    assert len(list_events(service, "password.reset_sent")) == 1


def test_administrators_get_a_reset_from_another_administrator(sqlite_service, sqlite_boss):
    chief = create_administrator(sqlite_service, "chief")
    chief.request_password_reset()
    assert not [mail for mail in sqlite_service.mailbox(chief.email) if "/reset/" in mail["text"]]
    assert (
        send(sqlite_boss, "POST", f"/v1/accounts/{get_account_id(chief)}/send-reset").status_code
        == 202
    )
    assert chief.reset(OTHER).status_code == 204
    assert chief.login().status_code == 200


def test_no_reset_is_sent_when_it_would_not_help(sqlite_service, sqlite_boss):
    mine = f"/v1/accounts/{get_account_id(sqlite_service.actor('ann').sign_up())}"
    for method, body in (("PATCH", {"status": "disabled"}), ("DELETE", None)):
        assert send(sqlite_boss, method, mine, body).status_code < 300
        refused = send(sqlite_boss, "POST", f"{mine}/send-reset")
        assert (refused.status_code, refused.json["code"]) == (409, "account_not_active")


# The last administrator.


def test_last_administrator_cannot_be_removed(service, boss):
    mine = f"/v1/accounts/{get_account_id(boss)}"
    for answer in (
        send(boss, "PATCH", mine, {"status": "disabled"}),
        send(boss, "DELETE", mine),
        send(boss, "DELETE", "/v1/me"),
        send(boss, "DELETE", f"{mine}/roles/admin"),
    ):
        assert (answer.status_code, answer.json["code"]) == (409, "last_admin")
    assert boss.whoami().status_code == 200


def test_disabled_or_invited_administrators_do_not_count(service, boss):
    chief = create_administrator(service, "chief")
    assert update_account(boss, get_account_id(chief), status="disabled").status_code == 200
    assert create(boss, "invited", roles=["admin"]).status_code == 201
    assert (
        update_account(boss, get_account_id(boss), status="disabled").json["code"] == "last_admin"
    )
    assert send(boss, "DELETE", "/v1/me").json["code"] == "last_admin"
    invited = service.actor("invited")
    assert invited.reset(OTHER, token=invited.get_mailed_token()).status_code == 204
    assert update_account(boss, get_account_id(boss), status="disabled").status_code == 200
    assert boss.whoami().status_code == 401


# Cost.


def test_login_to_an_account_without_a_password_costs_the_same(make_service, database_url):
    """Compare the statements one by one, and the CPU time of the hash in alternation."""
    service = make_service(database_url, limit_login="1000/minute", **EXPENSIVE_HASH).freeze_clock()
    boss = create_administrator(service)
    create(boss)
    service.actor("ann").sign_up()
    work = [
        record_request(service, "/v1/login", {"username": name, "password": WRONG_PASSWORD})
        for name in ("ann", "nobody", "carl")
    ]
    assert work[0] == work[1] == work[2]
    seconds = {"ann": [], "carl": []}
    for name, response in [*seconds.items()] * 3:
        began = time.process_time()
        assert (
            service.actor("stranger").login(username=name, password=WRONG_PASSWORD).status_code
            == 401
        )
        response.append(time.process_time() - began)
    assert 0.6 < min(seconds["carl"]) / min(seconds["ann"]) < 1.6, (
        seconds
    )  # other work of the processor only adds time
