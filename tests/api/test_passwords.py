"""Forgotten, reset and changed passwords: responses, emails and revoked sessions."""

from __future__ import annotations

import ipaddress
import json

import pytest
from sqlalchemy import inspect, text

from app.server.cleanup import delete_expired_data
from tests.actors import PASSWORD

NEW = "another sentence of some words"
NEWER = "one more sentence of some words"
WRONG = "no password of anybody here"
UNLIMITED = {
    "limit_login": "100000/minute",
    "limit_forgot": "100000/minute",
    "limit_confirm": "100000/minute",
}
LINK = "/reset/"


@pytest.fixture
def service(make_service, database_url):
    return make_service(database_url, **UNLIMITED).freeze_clock()


@pytest.fixture
def sqlite_service(make_service):
    return make_service(**UNLIMITED).freeze_clock()


def normalize_response(answer):
    """Return everything in the response that a client can compare, without the request ID."""
    headers = {name: value for name, value in answer.headers if name != "X-Request-Id"}
    body = answer.data
    if answer.status_code >= 400:
        body = body.replace(answer.json["request_id"].encode(), b"-")
    return answer.status_code, headers, body


def list_reset_links(actor) -> list[str]:
    """Return the reset links emailed to an account, newest first."""
    return [mail["links"][0] for mail in actor.service.mailbox(actor.email) if LINK in mail["text"]]


def disable(actor, status: str = "disabled") -> None:
    actor.service.scalar(
        "UPDATE accounts SET status = :status WHERE username = :name RETURNING id",
        status=status,
        name=actor.username,
    )


def make_admin(actor) -> None:
    actor.service.scalar(
        "INSERT INTO account_roles (account_id, role, granted_at) SELECT id, 'admin', created_at FROM accounts WHERE username = :name RETURNING role",
        name=actor.username,
    )
    actor.service.scalar(
        "UPDATE accounts SET roles_version = 1 WHERE username = :name RETURNING id",
        name=actor.username,
    )


def require_password_change(actor) -> None:
    actor.service.scalar(
        "UPDATE accounts SET must_change_since = created_at WHERE username = :name RETURNING id",
        name=actor.username,
    )


def advance_clock(service, **time: float) -> None:
    """Advance the clock, and reset the rate limits for emails."""
    service.clock.push(**time)
    service.units.limiter.reset()


def list_events(service) -> list[str]:
    with service.open_database() as db:
        return list(
            db.execute(
                text("SELECT event FROM audit WHERE event LIKE 'password.%' ORDER BY id")
            ).scalars()
        )


def is_dead(actor, token: str) -> bool:
    """Return whether the reset token is invalid, for the API and the page."""
    status = actor.get(f"/reset/{token}").status_code
    answers = {actor.from_another_address().reset(NEWER, token=token).status_code, status}
    assert len(answers) == 1
    return answers == {400}


# Forgotten passwords.


def test_reset_is_requested_by_name_or_email_in_any_case(sqlite_service):
    ann = sqlite_service.actor().sign_up()
    for count, body in enumerate(
        [
            {"username": "ann"},
            {"username": "ANN"},
            {"username": ann.email},
            {"email": "Ann@Example.ORG"},
            {"email": "ａｎｎ@example.org", "username": None},
        ],
        1,
    ):
        assert ann.request_password_reset(**body).status_code == 202
        assert len(list_reset_links(ann)) == count
        advance_clock(sqlite_service, minutes=1)
    assert ann.mail()["to"] == ann.email


def test_every_reset_request_gets_the_same_answer(service):
    ann, cyd, boss, eve = (service.actor(name).sign_up() for name in ("ann", "cyd", "boss", "eve"))
    bob = service.actor("bob")
    bob.register()
    disable(cyd)
    make_admin(boss)
    eve.request_password_reset()
    names = [
        "ann",
        "nobody-here",
        "cyd",
        "bob",
        "boss",
        "eve",
        "root",
        "no name",
        "@@",
        "a\u200bnn",
        "ann' OR '1'='1",
        "é" * 200,
    ]
    bodies = [{"username": name} for name in names]
    bodies += [
        {"email": f"{name}@example.org"} for name in ("ann", "nobody", "cyd", "bob", "boss", "eve")
    ] + [{"username": "nobody@example.org"}]
    answers = [
        normalize_response(service.actor("x").request_password_reset(**body)) for body in bodies
    ]
    assert answers[0][0] == 202
    for body, answer in zip(bodies, answers, strict=True):
        assert answer == answers[0], body
    assert [len(list_reset_links(actor)) for actor in (ann, bob, cyd, boss, eve)] == [1, 0, 0, 0, 1]
    assert service.mailbox("nobody@example.org") == []


def test_unsuccessful_reset_request_leaves_the_same_rows(service):
    ann = service.actor().sign_up()
    tables = ("outbox", "confirmations", "audit", "failed_attempts", "devices", "sessions")
    added = []
    for name in ("ann", "ann", "nobody-here", "nobody@example.org"):
        before = {table: service.scalar(f"SELECT count(*) FROM {table}") for table in tables}
        ann.request_password_reset(username=name)
        added.append(
            {
                table: service.scalar(f"SELECT count(*) FROM {table}") - count
                for table, count in before.items()
            }
        )
    assert (
        added
        == [
            {
                "outbox": 1,
                "confirmations": 1,
                "audit": 1,
                "failed_attempts": 0,
                "devices": 0,
                "sessions": 0,
            }
        ]
        * 4
    )
    assert len(list_reset_links(ann)) == 1, "one email per minute"


@pytest.mark.parametrize("allowed", [False, True])
def test_administrator_reset_requires_the_setting(make_service, allowed):
    boss = make_service(admin_self_reset=allowed).actor("boss").sign_up()
    make_admin(boss)
    assert boss.request_password_reset().status_code == 202
    assert len(list_reset_links(boss)) == allowed
    if allowed:
        assert boss.reset(NEW).status_code == 204


def test_unknown_email_is_notified_only_with_the_setting(make_service):
    service = make_service(notify_unknown=True)
    ann = service.actor("ann").sign_up()
    disable(ann)
    for body in (
        {"email": "Nobody@Example.org"},
        {"username": "nobody-here"},
        {"username": "@@"},
        {"email": ann.email},
    ):
        assert service.actor().request_password_reset(**body).status_code == 202
    (mail,) = service.mailbox("nobody@example.org")
    assert (mail["template"], mail["language"]) == ("reset_unknown", "en")
    assert LINK not in mail["text"] + mail["html"]
    assert len(service.mailbox()) == 2, "another account confirmed ann's email address"
    for _ in range(2):
        service.actor().request_password_reset(email="nobody@example.org")
    assert len(service.mailbox("nobody@example.org")) == 1
    advance_clock(service, minutes=1)
    service.actor().call(
        "POST",
        "/v1/password/forgot",
        json={"email": "nobody@example.org"},
        headers={"Accept-Language": "de"},
    )
    latest = service.mailbox("nobody@example.org")[0]
    assert (latest["template"], latest["language"]) == ("reset_unknown", "de")


def test_recipient_gets_one_link_a_minute_and_five_an_hour(service):
    ann = service.actor().sign_up()
    ann.request_password_reset()
    first = ann.get_reset_token()
    for body in ({"username": "ann"}, {"email": ann.email}, {"username": "ANN@example.org"}):
        assert service.actor().request_password_reset(**body).status_code == 202
    assert len(list_reset_links(ann)) == 1
    assert ann.get(f"/reset/{first}").status_code == 200
    for _ in range(6):
        _age_hits_by_a_minute(service)
        assert service.actor().request_password_reset(username="ann").status_code == 202
    assert len(list_reset_links(ann)) == 5
    assert ann.get(f"/reset/{ann.get_reset_token()}").status_code == 200
    assert is_dead(ann, first)
    assert ann.reset(NEW).status_code == 204


def _age_hits_by_a_minute(service) -> None:
    for kept in service.units.limiter._storage.events.values():
        for event in kept:
            event.atime -= 61
            event.expiry -= 61


def test_source_can_request_ten_resets_an_hour(make_service):
    eve = make_service().actor("eve")
    assert [
        eve.request_password_reset(username=f"name{number}").status_code for number in range(11)
    ] == [202] * 10 + [429]


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, {"/username"}),
        ({"username": None, "email": None}, {"/username"}),
        ({"username": "ann", "email": "ann@example.org"}, {"/username"}),
        ({"username": ""}, {"/username"}),
        ({"email": "x" * 257}, {"/email"}),
        ({"username": ["ann"]}, {"/username"}),
        ({"username": 7}, {"/username"}),
        ({"email": {"$ne": ""}}, {"/email"}),
        ({"username": "a\0b"}, {"/username"}),
        ({"username": "ann", "to": "eve@example.org"}, {"/to"}),
    ],
)
def test_account_is_named_in_exactly_one_way(sqlite_service, body, pointers):
    answer = sqlite_service.actor().post("/v1/password/forgot", body)
    assert answer.status_code == 422
    assert set(answer.json["errors"]) == pointers
    assert sqlite_service.scalar("SELECT count(*) FROM outbox") == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-Host": "evil.example"},
        {
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "evil.example",
            "X-Forwarded-Port": "444",
            "X-Forwarded-Prefix": "/evil.example",
        },
        {"Forwarded": "for=10.0.0.1;host=evil.example;proto=https"},
        {
            "X-Host": "evil.example",
            "X-Original-URL": "/evil.example",
            "X-Rewrite-URL": "/evil.example",
            "Origin": "https://evil.example",
            "Referer": "https://evil.example/",
        },
        {"Host": "127.0.0.1:9999"},
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "trusted", [(), ("10.0.0.0/8",)], ids=["from anyone", "from a gateway of ours"]
)
def test_request_headers_never_change_an_emailed_link(make_service, headers, trusted):
    service = make_service(
        public_url="https://auth.example.org",
        notify_unknown=True,
        trusted_proxies=tuple(map(ipaddress.ip_network, trusted)),
    )
    ann = service.actor().sign_in()
    for body in ({"username": "ann"}, {"email": "nobody@example.org"}):
        assert ann.post("/v1/password/forgot", body, headers=headers).status_code == 202
    assert list_reset_links(ann)[0].startswith("https://auth.example.org/reset/dwp_")
    path = f"/reset/{ann.get_reset_token()}"
    assert ann.get(path, headers=headers).status_code == 200
    assert (
        ann.post(
            "/v1/password/change",
            {"old_password": PASSWORD, "new_password": NEW},
            headers=headers,
            token=ann.access,
        ).status_code
        == 200
    )
    output = json.dumps(service.mailbox()) + ann.get(path, headers=headers).text
    assert "evil.example" not in output
    assert ":9999" not in output


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "127.0.0.1, evil.example",
        "",
    ],
)
def test_untrusted_host_sends_no_email(sqlite_service, host):
    ann = sqlite_service.actor().sign_up()
    assert (
        ann.post("/v1/password/forgot", {"username": "ann"}, headers={"Host": host}).status_code
        == 400
    )
    assert list_reset_links(ann) == []


def test_link_can_point_to_a_custom_page(make_service):
    ann = make_service(link_reset="https://app.example.org/new/{token}").actor().sign_up()
    ann.request_password_reset()
    assert ann.mail()["links"][0].startswith("https://app.example.org/new/dwp_")


# Resets.


def test_reset_sets_the_password_revokes_all_sessions_and_does_not_sign_in(service):
    ann = service.actor().sign_in()
    other = ann.from_another_address()
    other.login()
    bob = service.actor("bob").sign_in()
    ann.request_password_reset()
    answer = ann.from_another_address().reset(NEW, token=ann.get_reset_token(), verify_password=NEW)
    assert answer.status_code == 204
    assert answer.data == b""
    assert "Set-Cookie" not in answer.headers
    for client in (ann, other):
        assert client.whoami().status_code == 401
        assert client.refresh().status_code == 400
        assert client.login(password=PASSWORD).status_code == 401
    assert ann.login(password=NEW).status_code == 200
    assert [
        session["current"] for session in ann.get("/v1/sessions", token=ann.access).json["items"]
    ] == [True]
    assert bob.whoami().status_code == 200, "other accounts keep their sessions"
    assert (
        service.scalar(
            "SELECT count(*) FROM sessions WHERE reason = 'password_reset' AND status = 'revoked'"
        )
        == 2
    )
    assert list_events(service) == ["password.reset_requested", "password.reset"]


def test_reset_token_works_once(service):
    ann = service.actor().sign_up()
    ann.request_password_reset()
    token = ann.get_reset_token()
    assert ann.reset(NEW, token=token).status_code == 204
    assert is_dead(ann, token)
    assert ann.login(password=NEW).status_code == 200


@pytest.mark.parametrize(("seconds", "status"), [(1799, 204), (1801, 400)])
def test_reset_token_expires_after_30_minutes(service, seconds, status):
    ann = service.actor().sign_up()
    ann.request_password_reset()
    service.clock.push(seconds=seconds)
    assert ann.reset(NEW).status_code == status
    service.clock.push(days=2)
    delete_expired_data(service.units)
    assert service.scalar("SELECT count(*) FROM confirmations") == 0


def test_newer_reset_token_invalidates_the_older_one(service):
    ann = service.actor().sign_up()
    ann.request_password_reset()
    older = ann.get_reset_token()
    advance_clock(service, minutes=1)
    ann.request_password_reset(email=ann.email)
    assert is_dead(ann, older)
    assert ann.reset(NEW).status_code == 204


@pytest.mark.parametrize(
    "what", ["change", "logout everywhere", "epoch", "disabled", "must change"]
)
def test_reset_token_is_invalidated_by_account_changes(service, what):
    ann = service.actor().sign_in()
    ann.request_password_reset()
    token = ann.get_reset_token()
    if what == "change":
        assert ann.change(NEW).status_code == 200
    elif what == "logout everywhere":
        assert ann.post("/v1/logout-all", token=ann.access).status_code == 204
    elif what == "epoch":
        service.scalar("UPDATE accounts SET epoch = epoch + 1 RETURNING id")
    elif what == "disabled":
        disable(ann)
    else:
        require_password_change(ann)
        assert ann.login().status_code == 403
    before = service.scalar("SELECT password_hash FROM accounts")
    assert is_dead(ann, token)
    assert service.scalar("SELECT password_hash FROM accounts") == before
    assert "password.reset" not in list_events(service)


def test_logout_keeps_the_reset_token_valid(service):
    ann = service.actor().sign_in()
    ann.request_password_reset()
    assert ann.logout().status_code == 204
    assert ann.login(password=WRONG).status_code == 401
    assert ann.login().status_code == 200
    assert ann.reset(NEW).status_code == 204


def test_tokens_of_other_purposes_are_refused(service):
    ann, bob = service.actor().sign_up(), service.actor("bob")
    bob.register()
    registration = bob.get_mailed_token()
    ann.login(remember_device=True)
    ann.request_password_reset()
    good = ann.get_reset_token()
    head, row_id, secret = good.split("_")
    service.actor("cyd").sign_up().request_password_reset()
    other = service.actor("cyd").get_reset_token()
    spelled = [
        registration,
        ann.tokens["device_token"],
        ann.access,
        ann.tokens["refresh_token"],
        ann.tokens["session_id"],
    ]
    spelled += [
        good[:-1],
        good + "x",
        good.swapcase(),
        f"{head}_{row_id}",
        f"{head}_{other.split('_')[1]}_{secret}",
        f" {good}",
        "junk",
        "é",
    ]
    spelled += [f"dwc_{row_id}_{secret}", f"dwb_{row_id}_{secret}"]
    for token in spelled:
        answer = ann.post("/v1/password/reset", {"token": token[:128], "new_password": NEW})
        assert answer.status_code == 400, token
        assert answer.json["code"] == "invalid_token"
    assert ann.post("/v1/register/confirm", {"token": good, "password": NEW}).status_code == 400
    assert ann.get(f"/confirm/{good}").status_code == 400
    assert ann.login().status_code == 200
    assert ann.reset(NEW, token=good).status_code == 204
    assert service.actor("cyd").login().status_code == 200


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"new_password": "short"}, "validation_failed", "/new_password"),
        ({"new_password": "x" * 129}, "validation_failed", "/new_password"),
        ({"new_password": "long enough\u0007 to be one"}, "validation_failed", "/new_password"),
        ({"verify_password": NEW + "x"}, "password_mismatch", "/verify_password"),
        ({"verify_password": ""}, "validation_failed", "/verify_password"),
        ({"new_password": None}, "validation_failed", "/new_password"),
        ({"more": 1}, "validation_failed", "/more"),
    ],
)
def test_rejected_password_keeps_the_reset_token_valid(sqlite_service, body, code, pointer):
    ann = sqlite_service.actor().sign_in()
    ann.request_password_reset()
    before = sqlite_service.scalar("SELECT count(*) FROM audit")
    answer = ann.post(
        "/v1/password/reset", {"token": ann.get_reset_token(), "new_password": NEW, **body}
    )
    assert answer.status_code == 422
    assert answer.json["code"] == code
    assert set(answer.json["errors"]) == {pointer}
    assert sqlite_service.scalar("SELECT count(*) FROM audit") == before
    assert ann.whoami().status_code == 200
    assert ann.reset(NEW, verify_password=NEW).status_code == 204


def test_password_policy_errors_require_a_valid_token(sqlite_service):
    ann = sqlite_service.actor().sign_up()
    assert ann.reset("short", token="junk").status_code == 400
    assert ann.reset(NEW, token="junk", verify_password="x").status_code == 400


def test_reset_does_not_bypass_a_disabled_account(service):
    ann = service.actor().sign_up()
    ann.request_password_reset()
    disable(ann)
    assert ann.reset(NEW).status_code == 400
    disable(ann, "active")
    assert ann.login(password=NEW).status_code == 401
    assert ann.login().status_code == 200


def test_password_change_email_is_in_the_owners_language(service):
    ann, uwe = service.actor(), service.actor("uwe")
    ann.register()
    ann.confirm()
    uwe.register(locale="de")
    uwe.confirm()
    for actor, language in ((ann, "en"), (uwe, "de")):
        actor.call(
            "POST",
            "/v1/password/forgot",
            json={"username": actor.username},
            headers={"Accept-Language": "fr"},
        )
        mail = actor.mail()
        assert (mail["template"], mail["language"]) == ("password_reset", language)
        assert actor.username in mail["text"]
        assert all(mail["links"][0] in body for body in (mail["text"], mail["html"]))
        assert actor.reset(NEW).status_code == 204
        mail = actor.mail()
        assert (mail["template"], mail["language"]) == ("password_changed", language)
        assert LINK not in mail["text"] + mail["html"]
        assert NEW not in mail["text"] + mail["html"]
    ann.login()
    before = len(service.mailbox(ann.email))
    assert ann.change(NEWER).status_code == 200
    assert len(service.mailbox(ann.email)) == before + 1
    assert ann.mail()["template"] == "password_changed"


# Forced changes.


def test_forced_change_at_login_yields_only_a_reset_token(service):
    ann = service.actor().sign_up()
    require_password_change(ann)
    mails = len(service.mailbox())
    assert ann.login(password=WRONG).status_code == 401
    answer = ann.login(remember_device=True)
    assert answer.status_code == 403
    assert answer.json["code"] == "password_change_required"
    assert not {"access_token", "refresh_token", "device_token"} & set(answer.json)
    assert service.scalar("SELECT count(*) FROM sessions") == 0
    assert service.scalar("SELECT count(*) FROM devices") == 0
    assert service.scalar("SELECT count(*) FROM failed_attempts") == 0
    assert len(service.mailbox()) == mails, "the token appears only in the response"
    token = answer.json["reset_token"]
    same = ann.reset(PASSWORD, token=token)
    assert same.status_code == 422
    assert same.json["reasons"] == ["unchanged"]
    assert ann.reset(NEW, token=token).status_code == 204
    assert service.scalar("SELECT must_change_since FROM accounts") is None
    assert ann.login().status_code == 200
    assert is_dead(ann, token)


def test_forced_change_works_by_email_or_in_a_session_too(service):
    ann = service.actor().sign_in()
    require_password_change(ann)
    ann.request_password_reset()
    assert ann.reset(NEW).status_code == 204
    assert ann.login().status_code == 200
    require_password_change(ann)
    assert ann.change(NEWER).status_code == 200
    assert ann.login().status_code == 200


def test_reset_may_set_the_same_password_again(sqlite_service):
    ann = sqlite_service.actor().sign_up()
    ann.request_password_reset()
    assert ann.reset(PASSWORD).status_code == 204
    assert ann.login().status_code == 200


# Changes.


def test_change_returns_working_tokens_and_ends_all_others(service):
    ann = service.actor().sign_in()
    others = [ann.from_another_address(agent=f"other/{number}") for number in range(2)]
    for other in others:
        other.login()
    ann.request_password_reset()
    token, old = ann.get_reset_token(), dict(ann.tokens)
    answer = ann.change(NEW, verify_password=NEW)
    assert answer.status_code == 200
    assert (answer.json["id"], answer.json["username"]) == (old["account"]["id"], "ann")
    assert answer.json["session_id"] == old["session_id"]
    assert set(answer.json) == {*old, "id", "username"}
    assert ann.whoami().status_code == 200
    assert ann.whoami(old["access_token"]).status_code == 401
    assert ann.refresh(old["refresh_token"]).status_code == 400
    assert ann.whoami().status_code == 200, (
        "reuse of a token from before the change does not revoke the new ones"
    )
    for other in others:
        assert other.whoami().status_code == 401
        assert other.refresh().status_code == 400
    assert is_dead(ann, token)
    refreshed = ann.refresh()
    assert refreshed.status_code == 200
    assert ann.whoami(refreshed.json["access_token"]).status_code == 200
    assert ann.login(password=PASSWORD).status_code == 401
    assert ann.login(password=NEW).status_code == 200
    assert service.scalar("SELECT count(*) FROM sessions WHERE reason = 'password_changed'") == 2


def test_session_with_many_refreshes_survives_a_change(service):
    ann = service.actor().sign_in()
    all_tokens = []
    for _ in range(3):
        service.clock.push(minutes=2)
        all_tokens.append(ann.tokens)
        ann.tokens = ann.refresh().json
    all_tokens.append(ann.tokens)
    assert ann.change(NEW).status_code == 200
    for tokens in all_tokens:
        assert ann.refresh(tokens["refresh_token"]).status_code == 400
        assert ann.whoami(tokens["access_token"]).status_code == 401
    ann.tokens = ann.refresh().json
    assert ann.whoami().status_code == 200


def test_wrong_current_password_is_403_and_not_401(service):
    ann = service.actor().sign_in()
    answer = ann.change(NEW, old_password=WRONG)
    assert answer.status_code == 403
    assert answer.json["code"] == "wrong_password"
    assert "WWW-Authenticate" not in answer.headers
    assert ann.whoami().status_code == 200
    assert ann.login(password=NEW).status_code == 401
    assert service.scalar("SELECT max(count) FROM failed_attempts") == 2
    assert list_events(service) == ["password.refused"]
    assert ann.login().status_code == 200


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"new_password": PASSWORD}, "validation_failed", "/new_password"),
        ({"new_password": PASSWORD.replace(" ", "\u00a0")}, "validation_failed", "/new_password"),
        ({"old_password": WRONG, "new_password": WRONG}, "validation_failed", "/new_password"),
        ({"new_password": "short"}, "validation_failed", "/new_password"),
        ({"verify_password": WRONG}, "password_mismatch", "/verify_password"),
        ({"old_password": "x" * 129}, "validation_failed", "/old_password"),
        ({"old_password": ""}, "validation_failed", "/old_password"),
        ({"old_password": None}, "validation_failed", "/old_password"),
        ({"account_id": "acc_1"}, "validation_failed", "/account_id"),
    ],
)
def test_invalid_change_changes_nothing_and_is_not_counted(sqlite_service, body, code, pointer):
    ann = sqlite_service.actor().sign_in()
    answer = ann.post(
        "/v1/password/change",
        {"old_password": PASSWORD, "new_password": NEW, **body},
        token=ann.access,
    )
    assert answer.status_code == 422
    assert answer.json["code"] == code
    assert set(answer.json["errors"]) == {pointer}
    assert sqlite_service.scalar("SELECT count(*) FROM failed_attempts") == 0
    assert ann.whoami().status_code == 200
    assert ann.login().status_code == 200


def test_password_made_of_account_data_is_rejected_by_change_and_reset(sqlite_service):
    ann = sqlite_service.actor("annabella", email="elizabeth@example.org").sign_in()
    ann.request_password_reset()
    for password in ("annabellaannabella", "elizabeth elizabeth"):
        for answer in (ann.change(password), ann.reset(password)):
            assert answer.status_code == 422
            assert answer.json["reasons"]
            assert len(answer.json["suggestions"]) == 3
            assert password not in answer.text
    assert ann.change(answer.json["suggestions"][0]).status_code == 200


def test_password_change_requires_a_live_session(service):
    ann = service.actor().sign_in()
    body = {"old_password": PASSWORD, "new_password": NEW}
    assert ann.post("/v1/password/change", body).status_code == 401
    for token in ("junk", ann.tokens["refresh_token"], ann.access[:-3]):
        assert ann.post("/v1/password/change", body, token=token).status_code == 401
    ann.logout()
    assert ann.change(NEW).status_code == 401
    ann.login()
    ann.request_password_reset()
    assert ann.reset(NEW).status_code == 204
    assert ann.change(NEWER).status_code == 401
    assert ann.login(password=NEW).status_code == 200


@pytest.mark.parametrize("what", ["session", "account", "epoch", "status"])
def test_session_revoked_during_hashing_changes_nothing(service, what):
    ann = service.actor().sign_in()
    other = ann.from_another_address()
    other.login()
    hasher = service.units.hasher
    hash_now = hasher.hash
    statements = {
        "session": "UPDATE sessions SET status = 'revoked' WHERE id = :id RETURNING id",
        "account": "UPDATE sessions SET account_epoch = 7 WHERE id = :id RETURNING id",
        "epoch": "UPDATE accounts SET epoch = epoch + 1 WHERE :id <> '' RETURNING id",
        "status": "UPDATE accounts SET status = 'disabled' WHERE :id <> '' RETURNING id",
    }

    def hash_after_update(password: str) -> str:
        service.scalar(statements[what], id=ann.tokens["session_id"])
        return hash_now(password)

    before = service.scalar("SELECT password_hash FROM accounts")
    hasher.hash = hash_after_update
    answer = ann.change(NEW)
    hasher.hash = hash_now
    assert answer.status_code == {"status": 403}.get(what, 401)
    assert service.scalar("SELECT password_hash FROM accounts") == before
    assert "password_changed" not in [mail["template"] for mail in service.mailbox()]
    assert "password.changed" not in list_events(service)
    if what in {"session", "account"}:
        assert other.whoami().status_code == 200


def test_outdated_hash_does_not_block_a_change(make_service, database_url):
    ann = make_service(database_url).actor().sign_in()
    ann.service = make_service(database_url, argon2_time_cost=2)
    assert ann.change(NEW).status_code == 200
    assert "t=2" in ann.service.scalar("SELECT password_hash FROM accounts")
    assert ann.login().status_code == 200


def test_change_and_reset_apply_at_once_on_every_replica_with_redis(
    make_service, empty_postgres_url, redis_url
):
    one, two = (
        make_service(empty_postgres_url, redis_url=redis_url, **UNLIMITED) for _ in range(2)
    )
    ann = one.actor().sign_in()
    there = two.actor(password=PASSWORD)
    other = one.actor()
    other.login()
    for _ in range(2):
        assert [there.whoami(client.access).status_code for client in (ann, other)] == [200, 200], (
            "both sessions are in the status cache of this replica"
        )
    old = ann.access
    assert ann.change(NEW).status_code == 200
    assert [there.whoami(token).status_code for token in (old, other.access, ann.access)] == [
        401,
        401,
        200,
    ]
    there.request_password_reset()
    assert there.reset(NEWER).status_code == 204
    assert [actor.whoami(ann.access).status_code for actor in (ann, there)] == [401, 401]
    assert ann.refresh().status_code == 400
    assert there.login().status_code == 200
    assert ann.whoami(there.access).status_code == 200


# Stored data.


def test_secrets_are_neither_stored_nor_logged_nor_emailed(service, capfd):
    first, chosen, changed = (
        "planted first passphrase",
        "planted chosen passphrase",
        "planted changed passphrase",
    )
    ann = service.actor(password=first).sign_in()
    secrets = {first, chosen, changed}
    ann.request_password_reset()
    token = ann.get_reset_token()
    ann.get(f"/reset/{token}")
    ann.call("POST", f"/reset/{token}", data={"password": "short", "again": "short"})
    ann.call("POST", f"/reset/{token}x", data={"password": chosen, "again": chosen})
    ann.post("/v1/password/reset", {"token": token, "new_password": [chosen]})
    ann.request_password_reset(username=chosen)
    assert ann.reset(chosen).status_code == 204
    ann.login()
    assert ann.change(changed, old_password=first).status_code == 403
    assert ann.change(changed).status_code == 200
    require_password_change(ann)
    handed = ann.login().json["reset_token"]
    for each in (token, handed):
        secrets |= {each, each.split("_")[2], each.split("_")[2][:43]}
    with service.open_database() as db:
        tables = inspect(db.connection()).get_table_names()
        kept = "\n".join(
            str(row) for table in tables for row in db.execute(text(f"SELECT * FROM {table}"))
        )
    mailed = json.dumps([mail for mail in service.mailbox() if LINK not in mail["text"]])
    captured = capfd.readouterr()
    for secret in secrets:
        assert secret not in kept
        assert secret not in captured.out + captured.err
        assert secret not in mailed
    assert "$argon2id$" not in captured.out
    assert ann.email not in captured.out
