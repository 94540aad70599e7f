"""Device login: from the request to the tokens, and every way in which it can fail."""

from __future__ import annotations

from datetime import datetime, timedelta

import jwt
import pytest
from sqlalchemy import event, text

from app.opaque_tokens import generate_token
from app.server.cleanup import delete_expired_data
from tests.actors import SECRET
from tests.administrators import create_administrator, get_account_id
from tests.device_logins import (
    Device,
    claim,
    complete_device_login,
    decide,
    get_device_login_state,
    start_device_login,
)


@pytest.fixture
def box(service) -> Device:
    return start_device_login(service)


@pytest.fixture
def ann(service):
    return service.actor("ann").sign_in()


def test_user_approves_a_device_from_another_device(service, ann, box):
    box.start(hostname="attic", login_message="nightly backup")
    assert box.get_poll_result() == "authorization_pending"
    seen = claim(ann, box.code).json
    assert (seen["state"], seen["client_name"], seen["hostname"], seen["login_message"]) == (
        "claimed",
        "backup",
        "attic",
        "nightly backup",
    )
    assert (seen["address"], seen["user_agent"], seen["check_phrase"]) == (
        box.actor.address,
        "backup/2",
        box.response["check_phrase"],
    )
    assert seen["claimed_with"] == {
        "session_id": ann.tokens["session_id"],
        "address": ann.address,
        "device": ann.agent,
    }
    another = start_device_login(service).response["check_phrase"]
    assert len(another.split()) == len(seen["check_phrase"].split()) == 3
    assert another != seen["check_phrase"]
    approved = decide(ann, box, "approve").json
    assert (approved["state"], approved["decided_with"]) == ("approved", seen["claimed_with"])
    tokens = box.poll().json
    assert tokens["session_id"] == box.id
    assert tokens["token_type"] == "Bearer"
    assert box.actor.whoami(tokens["access_token"]).json["username"] == "ann"
    live = ann.get(f"/v1/login-sessions/{box.id}", token=ann.access).json
    assert live["state"] == "live"
    assert live["redeemed_at"] is not None
    listed = ann.get("/v1/sessions", token=ann.access).json["items"]
    ours = next(session for session in listed if session["id"] == box.id)
    assert (ours["device_name"], ours["approved_by"], ours["address"]) == (
        "backup on attic",
        ann.tokens["session_id"],
        box.actor.address,
    )
    assert box.actor.refresh(tokens["refresh_token"]).status_code == 200


def test_oauth_clients_start_with_a_form(service, ann):
    box = Device(service.actor("box"))
    box.response = box.actor.call(
        "POST", "/oauth/device_authorization", data={"scope": "orders:read"}
    ).json
    assert set(box.response) == {
        *(
            "device_code",
            "user_code",
            "verification_uri",
            "verification_uri_complete",
            "expires_in",
            "interval",
            "session_id",
        )
    }
    assert box.response["verification_uri"] == "http://127.0.0.1:8080/login/activate"
    assert (
        box.response["verification_uri_complete"]
        == f"http://127.0.0.1:8080/login/activate/{box.code}"
    )
    assert (box.response["expires_in"], box.response["interval"]) == (600, 5)
    assert claim(ann, box.code).json["check_phrase"] is None
    assert decide(ann, box, "approve").status_code == 200
    assert box.get_poll_result() == "tokens"
    unreadable = box.actor.call(
        "POST", "/oauth/device_authorization", data={"scope": "orders:read  x"}
    )
    assert (unreadable.status_code, unreadable.json["error"]) == (400, "invalid_scope")


def test_device_code_is_redeemed_once(ann, box):
    complete_device_login(ann, box)
    assert box.get_poll_result() == "invalid_grant"


@pytest.mark.parametrize(
    "spelt",
    [
        str.lower,
        lambda code: code.replace("-", ""),
        lambda code: f" {code[:2]}.{code[2:]} ",
        str.swapcase,
    ],
)
def test_user_code_ignores_case_and_separators(sqlite_service, spelt):
    ann, box = sqlite_service.actor().sign_in(), start_device_login(sqlite_service)
    assert claim(ann, spelt(box.code)).status_code == 200


def test_first_claim_excludes_others(service, ann, box):
    bob = service.actor("bob").sign_in()
    assert claim(ann, box.code).status_code == 200
    assert claim(ann, box.code).status_code == 200, "claiming again has no effect"
    unknown = claim(bob, "BBBB-BBBB")
    late = claim(bob, box.code)
    assert (late.status_code, late.json["code"]) == (404, "unknown_user_code")
    assert {**late.json, "request_id": ""} == {**unknown.json, "request_id": ""}
    assert bob.get(f"/v1/login-sessions/{box.id}", token=bob.access).status_code == 404
    for verb in ("approve", "deny", "suspicious"):
        assert decide(bob, box, verb).status_code == 404
    assert get_device_login_state(ann, box) == "claimed"
    assert decide(ann, box, "approve").status_code == 200


def test_request_is_invisible_before_it_is_claimed(sqlite_service):
    ann, box = sqlite_service.actor("ann").sign_in(), start_device_login(sqlite_service)
    assert ann.get(f"/v1/login-sessions/{box.id}", token=ann.access).status_code == 404
    for verb in ("approve", "deny", "suspicious"):
        assert decide(ann, box, verb).status_code == 404
    assert box.get_poll_result() == "authorization_pending"


@pytest.mark.parametrize("named", ["ann", "ANN", "ann@example.org", "Ann@Example.ORG"])
def test_only_the_named_account_can_claim(sqlite_service, named):
    ann = sqlite_service.actor("ann").sign_in()
    bob, box = sqlite_service.actor("bob").sign_in(), start_device_login(sqlite_service)
    box.start(username=named)
    assert claim(bob, box.code).json["code"] == "unknown_user_code"
    assert claim(ann, box.code).status_code == 200


def test_named_requests_reveal_no_account_and_are_limited_per_account(sqlite_service):
    sqlite_service.actor("ann").sign_in()
    box = start_device_login(sqlite_service)
    for spellings in (
        ("ann", "ANN", "\uff21nn", "ann"),
        ("nobody-here", "Nobody-Here", "\uff4eobody-here", "nobody-here"),
    ):
        assert [box.start(username=name).status_code for name in spellings] == [201, 201, 201, 429]
    assert box.start().status_code == 201
    sqlite_service.clock.push(minutes=1)
    assert box.start(username="ann").status_code == 429


def test_rate_limited_request_holds_no_transaction(sqlite_service):
    box = start_device_login(sqlite_service)
    for _ in range(3):
        box.start(username="ann")
    begun = []
    event.listen(sqlite_service.units.database.engine, "begin", begun.append)
    assert box.start(username="ann").status_code == 429
    assert begun == []


def test_after_five_wrong_codes_the_right_one_is_refused(service, ann, box):
    assert [claim(ann, "BBBB-BBBB").status_code for _ in range(5)] == [404] * 5
    refused = claim(ann, box.code)
    assert (refused.status_code, refused.json["violated-policies"]) == (429, ["user_code"])
    assert 590 < int(refused.headers["Retry-After"]) <= 600
    other_client = ann.from_another_address()
    other_client.login()
    assert claim(other_client, box.code).status_code == 429, (
        "the account is limited from every IP address"
    )
    bob = service.actor("bob", address=ann.address).sign_in()
    assert claim(bob, box.code).status_code == 429, "the IP address is limited for every account"
    carol = service.actor("carol").sign_in()
    assert claim(carol, box.code).status_code == 200
    service.clock.push(minutes=10)
    fresh = start_device_login(service)
    ann.login()
    assert claim(ann, fresh.code).status_code == 200


def test_wrong_code_window_starts_with_the_first_wrong_code(sqlite_service):
    ann = sqlite_service.actor().sign_in()
    assert [claim(ann, "BBBB-BBBB").status_code for _ in range(4)] == [404] * 4
    sqlite_service.clock.push(minutes=9)
    ann.login()
    assert [claim(ann, "BBBB-BBBB").status_code for _ in range(2)] == [404, 429]
    sqlite_service.clock.push(minutes=1)
    assert claim(ann, start_device_login(sqlite_service).code).status_code == 200


def test_right_codes_do_not_count(sqlite_service):
    ann = sqlite_service.actor().sign_in()
    for _ in range(7):
        complete_device_login(ann, start_device_login(sqlite_service))


def test_approval_requires_the_code_and_counts_wrong_ones(sqlite_service):
    ann, box = sqlite_service.actor("ann").sign_in(), start_device_login(sqlite_service)
    claim(ann, box.code)
    wrong = decide(ann, box, "approve", user_code="BBBB-BBBB")
    assert (wrong.status_code, wrong.json["code"]) == (404, "unknown_user_code")
    count_refusals = (
        "SELECT count(*) FROM audit WHERE event = 'user_code.refused' AND session_id = :id"
    )
    assert sqlite_service.scalar(count_refusals, id=box.id) == 1
    assert [claim(ann, "BBBB-BBBB").status_code for _ in range(4)] == [404] * 4
    assert decide(ann, box, "approve").status_code == 429
    assert decide(ann, box, "deny").status_code == 200, "denying is never limited"


OUTCOMES = {
    "approve": ("tokens", "live"),
    "deny": ("access_denied", "denied"),
    "suspicious": ("access_denied", "suspicious"),
}


@pytest.mark.parametrize("first", OUTCOMES)
def test_request_is_decided_once(ann, box, first):
    claim(ann, box.code)
    assert decide(ann, box, first).status_code == 200
    for verb in ("approve", "deny", "suspicious"):
        late = decide(ann, box, verb)
        assert (late.status_code, late.json["code"]) == (409, "login_session_over")
    assert box.cancel().json["code"] == "login_session_over"
    assert (box.get_poll_result(), get_device_login_state(ann, box)) == OUTCOMES[first]
    assert claim(ann, box.code).json["code"] == "unknown_user_code"


@pytest.mark.parametrize("claimed", [True, False])
def test_device_can_cancel_its_request(sqlite_service, claimed):
    ann, box = sqlite_service.actor("ann").sign_in(), start_device_login(sqlite_service)
    if claimed:
        claim(ann, box.code)
    assert box.cancel().status_code == 204
    assert box.cancel().json["code"] == "login_session_over"
    assert box.get_poll_result() == "expired_token"
    assert claim(ann, box.code).status_code == 404
    if claimed:
        assert decide(ann, box, "approve").status_code == 409
        assert get_device_login_state(ann, box) == "cancelled"


def test_unknown_device_code_cancels_nothing(sqlite_service):
    box = start_device_login(sqlite_service)
    good = box.response["device_code"]
    forged = generate_token("dwl", box.id).token  # everything except the secret is public
    for code in (
        "x",
        good[:-1] + ("0" if good[-1] != "0" else "1"),
        good.replace("dwl", "dwk"),
        forged,
        box.id,
    ):
        box.response = {"device_code": code}
        assert (box.cancel().status_code, box.cancel().json["code"]) == (404, "unknown_device_code")
        assert box.get_poll_result() == "invalid_grant"


@pytest.mark.parametrize("step", ["pending", "claimed", "approved"])
def test_request_expires_after_ten_minutes(sqlite_service, step):
    ann, box = sqlite_service.actor("ann").sign_in(), start_device_login(sqlite_service)
    if step != "pending":
        claim(ann, box.code)
    if step == "approved":
        decide(ann, box, "approve")
    sqlite_service.clock.push(seconds=600)
    ann.login()
    assert box.get_poll_result() == "expired_token"
    assert claim(ann, box.code).status_code == 404
    if step != "pending":
        assert decide(ann, box, "approve").status_code == 409
        assert decide(ann, box, "deny").status_code == 409
        assert get_device_login_state(ann, box) == "expired"
    assert box.cancel().status_code == 409


def test_early_poll_increases_the_interval_until_it_is_kept(service, ann, box):
    service.freeze_clock()
    assert box.get_poll_result() == "authorization_pending", "the first poll is never early"
    assert box.get_poll_result() == "slow_down"  # the interval is 10 seconds now
    service.clock.push(seconds=5)
    assert box.get_poll_result() == "slow_down"  # 15 seconds
    service.clock.push(seconds=15)
    assert box.get_poll_result() == "authorization_pending"  # 10 seconds
    service.clock.push(seconds=10)
    assert box.get_poll_result() == "authorization_pending"  # 5 seconds again
    service.clock.push(seconds=4.1)  # within the tolerance for network delays
    assert box.get_poll_result() == "authorization_pending"
    assert box.get_poll_result() == "slow_down", "the interval is at least 5 seconds"
    claim(ann, box.code)
    decide(ann, box, "approve")
    assert box.get_poll_result() == "tokens", "an approved login is never delayed"


def test_poll_interval_never_exceeds_a_minute(sqlite_service):
    box = start_device_login(sqlite_service)
    for _ in range(15):
        box.get_poll_result()
    sqlite_service.clock.push(seconds=60)
    assert box.get_poll_result() == "authorization_pending"


# Checks at redemption.


def disable_and_enable(service, ann):
    boss = create_administrator(service)
    for status in ("disabled", "active"):
        boss.call(
            "PATCH",
            f"/v1/accounts/{get_account_id(ann)}",
            json={"status": status},
            token=boss.access,
        )


def require_password_change(service, ann):
    boss = create_administrator(service)
    boss.call(
        "PATCH",
        f"/v1/accounts/{get_account_id(ann)}",
        json={"must_change_password": True},
        token=boss.access,
    )


def change_password(service, ann):
    assert ann.change("another horse battery staple").status_code == 200


def reset(service, ann):
    ann.request_password_reset()
    assert ann.reset("another horse battery staple").status_code == 204


def log_out_everywhere(service, ann):
    assert ann.post("/v1/logout-all", token=ann.access).status_code == 204


def revoke_session(service, ann):
    other_client = ann.from_another_address()
    other_client.login()
    assert (
        other_client.call(
            "DELETE", f"/v1/sessions/{ann.tokens['session_id']}", token=other_client.access
        ).status_code
        == 204
    )


def report_session(service, ann):
    other_client = ann.from_another_address()
    other_client.login()
    assert (
        other_client.post(
            f"/v1/sessions/{ann.tokens['session_id']}/suspicious", token=other_client.access
        ).status_code
        == 204
    )


def raise_global_epoch(service, ann):
    service.scalar("UPDATE issuer_state SET global_epoch = global_epoch + 1 RETURNING global_epoch")


@pytest.mark.parametrize(
    "what",
    [
        disable_and_enable,
        require_password_change,
        change_password,
        reset,
        log_out_everywhere,
        revoke_session,
        report_session,
        raise_global_epoch,
    ],
)
def test_account_is_checked_again_when_the_code_is_redeemed(sqlite_service, what):
    ann, box = sqlite_service.actor("ann").sign_in(), start_device_login(sqlite_service)
    claim(ann, box.code)
    decide(ann, box, "approve")
    what(sqlite_service, ann)
    assert box.get_poll_result() == "access_denied"
    assert box.get_poll_result() == "expired_token"
    assert sqlite_service.scalar("SELECT count(*) FROM sessions WHERE id = :id", id=box.id) == 0


def test_approver_may_log_out_before_the_device_polls(sqlite_service):
    ann, box = sqlite_service.actor("ann").sign_in(), start_device_login(sqlite_service)
    claim(ann, box.code)
    decide(ann, box, "approve")
    ann.logout()
    assert box.get_poll_result() == "tokens"


def test_device_session_has_no_recent_authentication(sqlite_service):
    ann, box = sqlite_service.actor("ann").sign_in(), start_device_login(sqlite_service)
    tokens = complete_device_login(ann, box)
    claims = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    assert "auth_time" not in claims
    assert claims["amr"] == ["mca"]
    key = {"name": "robot", "scopes": []}
    assert (
        box.actor.post("/v1/api-keys", key, token=tokens["access_token"]).json["code"]
        == "reauthentication_required"
    )
    typed = box.actor.post(
        "/v1/elevate", {"password": ann.password}, token=tokens["access_token"]
    ).json["access_token"]
    claims = jwt.decode(typed, options={"verify_signature": False})
    assert claims["amr"] == ["mca", "pwd"]
    assert box.actor.post("/v1/api-keys", key, token=typed).status_code == 201


def test_device_session_needs_the_password_to_approve_others(sqlite_service):
    ann, box = sqlite_service.actor("ann").sign_in(), start_device_login(sqlite_service)
    tokens = complete_device_login(ann, box)
    other, password_client = start_device_login(sqlite_service), ann.from_another_address()
    password_client.tokens = tokens
    assert claim(password_client, other.code).status_code == 200
    assert decide(password_client, other, "approve").json["code"] == "reauthentication_required"


# Session length.


def get_lifetime(person, box) -> float:
    """Seconds until the session ends without a refresh."""
    session = person.get(f"/v1/sessions/{box.id}", token=person.access).json
    return (
        datetime.fromisoformat(session["expires_at"])
        - datetime.fromisoformat(session["created_at"])
    ).total_seconds()


def test_requested_lifetime_starts_with_the_session(service, ann, box):
    box.start(expires_in=120)
    assert claim(ann, box.code).json["expires_in"] == 120
    assert decide(ann, box, "approve").json["expires_in"] == 120
    service.clock.push(seconds=90)
    tokens = box.poll().json
    assert get_lifetime(ann, box) == 120
    assert tokens["expires_in"] <= 120
    assert tokens["refresh_expires_in"] == 120
    service.clock.push(seconds=90)
    fresh = box.actor.refresh(tokens["refresh_token"]).json
    assert fresh["refresh_expires_in"] <= 30
    service.clock.push(seconds=31)
    assert box.actor.whoami(fresh["access_token"]).status_code == 401
    assert box.actor.refresh(fresh["refresh_token"]).status_code == 400
    assert get_device_login_state(ann, box) == "expired"


@pytest.mark.parametrize(
    ("longest", "requested", "granted"),
    [(3600, 86400, 3600), (30 * 86400, 365 * 86400, 14 * 86400), (30 * 86400, None, 14 * 86400)],
)
def test_device_session_lasts_no_longer_than_a_login(make_service, longest, requested, granted):
    service = make_service(session_max_ttl=timedelta(seconds=longest))
    ann, box = service.actor().sign_in(), start_device_login(service)
    box.start(**({"expires_in": requested} if requested else {}))
    complete_device_login(ann, box)
    assert get_lifetime(ann, box) == granted
    assert ann.get(f"/v1/login-sessions/{box.id}", token=ann.access).json["expires_in"] == requested


def test_longer_lifetime_requires_the_setting_and_excludes_administrators(make_service):
    service = make_service(session_max_ttl=timedelta(days=90))
    for person, longest in (
        (service.actor("ann").sign_in(), timedelta(days=60)),
        (create_administrator(service), timedelta(days=1)),
    ):
        box = start_device_login(service)
        box.start(expires_in=60 * 86400)
        complete_device_login(person, box)
        ends = service.scalar("SELECT absolute_until FROM sessions WHERE id = :id", id=box.id)
        begun = service.scalar("SELECT created_at FROM sessions WHERE id = :id", id=box.id)
        assert datetime.fromisoformat(str(ends)) - datetime.fromisoformat(str(begun)) == longest


# Reports.


def test_suspicious_request_is_denied_emailed_and_rate_limited(service, ann, box):
    claim(ann, box.code)
    assert decide(ann, box, "suspicious").json["state"] == "suspicious"
    assert box.get_poll_result() == "access_denied"
    mail = ann.mail()
    assert "backup" in mail["text"]
    assert box.actor.address in mail["text"]
    assert [box.start().status_code for _ in range(3)] == [201, 429, 429]
    assert box.start().json["violated-policies"] == ["suspect"]
    assert start_device_login(service).start().status_code == 201, (
        "other IP addresses are not limited"
    )


def withdraw_report(person, box):
    answer = person.call("DELETE", f"/v1/sessions/{box.id}/suspicious", token=person.access)
    return answer.status_code, answer.json["code"] if answer.status_code != 204 else None


def test_unflagging_a_request_signs_no_device_in(service, ann, box):
    boss, bob = create_administrator(service), service.actor("bob").sign_in()
    other = start_device_login(service)
    assert withdraw_report(ann, box) == (404, "not_found"), "the request is not claimed"
    for each in (box, other):
        claim(ann, each.code)
    assert withdraw_report(ann, box) == (409, "session_not_suspicious")
    for each in (box, other):
        decide(ann, each, "suspicious")
    refused = Device(box.actor, response=box.response)
    assert [box.start().status_code for _ in range(2)] == [201, 429]
    assert withdraw_report(bob, refused) == (404, "not_found")
    assert withdraw_report(ann, refused) == (204, None)
    assert box.start().status_code == 201
    assert (refused.get_poll_result(), get_device_login_state(ann, refused)) == (
        "access_denied",
        "denied",
    )
    assert withdraw_report(ann, refused) == (409, "session_not_suspicious")
    assert withdraw_report(boss, other) == (204, None)
    cleared = "SELECT count(*) FROM audit WHERE event = 'session.cleared' AND account_id = :id"
    assert service.scalar(cleared, id=get_account_id(ann)) == 2


def test_unflagging_a_redeemed_request_unflags_its_session(sqlite_service):
    ann, box = sqlite_service.actor().sign_in(), start_device_login(sqlite_service)
    tokens = complete_device_login(ann, box)
    assert ann.post(f"/v1/sessions/{box.id}/suspicious", token=ann.access).status_code == 204
    assert get_device_login_state(ann, box) == "suspicious"
    assert withdraw_report(ann, box) == (204, None)
    assert get_device_login_state(ann, box) == "revoked"
    assert box.actor.whoami(tokens["access_token"]).status_code == 401


def test_former_administrator_cannot_unflag(sqlite_service):
    ann, box, boss = (
        sqlite_service.actor().sign_in(),
        start_device_login(sqlite_service),
        create_administrator(sqlite_service),
    )
    claim(ann, box.code)
    decide(ann, box, "suspicious")
    sqlite_service.scalar(
        "DELETE FROM account_roles WHERE account_id = :id RETURNING role", id=get_account_id(boss)
    )
    assert withdraw_report(boss, box) == (404, "not_found")
    assert get_device_login_state(ann, box) == "suspicious"


def test_suspicious_flag_expires_after_a_day(make_service):
    service = make_service(limit_device="1000/minute")
    ann, box = service.actor().sign_in(), start_device_login(service)
    claim(ann, box.code)
    decide(ann, box, "suspicious")
    service.clock.push(days=1)
    assert [box.start().status_code for _ in range(3)] == [201] * 3


# History.


def test_owner_and_administrators_can_read_the_outcome(service, ann):
    boss = create_administrator(service)
    boxes = {}
    for name in (
        "denied",
        "suspicious",
        "cancelled",
        "approved",
        "claimed",
        "live",
        "logged_out",
        "revoked",
    ):
        boxes[name] = start_device_login(service)
        claim(ann, boxes[name].code)
    decide(ann, boxes["denied"], "deny")
    decide(ann, boxes["suspicious"], "suspicious")
    boxes["cancelled"].cancel()
    for name in ("approved", "live", "logged_out", "revoked"):
        decide(ann, boxes[name], "approve")
    tokens = {name: boxes[name].poll().json for name in ("live", "logged_out", "revoked")}
    boxes["logged_out"].actor.post("/v1/logout", token=tokens["logged_out"]["access_token"])
    ann.call("DELETE", f"/v1/sessions/{boxes['revoked'].id}", token=ann.access)
    assert {name: get_device_login_state(ann, box) for name, box in boxes.items()} == {
        name: name for name in boxes
    }
    for name, box in boxes.items():
        found = ann.get(f"/v1/login-sessions?state={name}", token=ann.access).json["items"]
        assert [one["id"] for one in found] == [box.id]
        assert (found[0]["ended_at"] is None) is (name in {"approved", "claimed", "live"})
        assert boss.get(f"/v1/login-sessions/{box.id}", token=boss.access).json == found[0]
    whole = ann.get("/v1/login-sessions?limit=100", token=ann.access).json
    theirs = boss.get(
        f"/v1/login-sessions?account_id={get_account_id(ann)}&limit=100", token=boss.access
    ).json
    assert theirs == whole
    assert [one["id"] for one in whole["items"]] == [box.id for box in reversed(boxes.values())]
    assert boss.get("/v1/login-sessions", token=boss.access).json["items"] == []
    assert (
        ann.get(
            f"/v1/login-sessions?account_id={get_account_id(boss)}", token=ann.access
        ).status_code
        == 403
    )
    first = ann.get("/v1/login-sessions?limit=5", token=ann.access).json
    rest = ann.get(f"/v1/login-sessions?limit=5&cursor={first['next']}", token=ann.access).json
    assert first["items"] + rest["items"] == whole["items"]
    of_another = f"account_id={get_account_id(boss)}&limit=5&cursor={first['next']}"
    for query, person in ((of_another, boss), (f"state=live&cursor={first['next']}", ann)):
        assert person.get(f"/v1/login-sessions?{query}", token=person.access).status_code == 422
    service.clock.push(days=31)
    ann.login()
    assert get_device_login_state(ann, boxes["live"]) == "expired"


def test_sessions_ended_by_key_leak_or_expiry_are_shown_as_such(sqlite_service):
    ann, revoked, idle = (
        sqlite_service.actor("ann").sign_in(),
        start_device_login(sqlite_service),
        start_device_login(sqlite_service),
    )
    complete_device_login(ann, revoked)
    raise_global_epoch(sqlite_service, ann)
    ann.login()
    assert get_device_login_state(ann, revoked) == "revoked"
    complete_device_login(ann, idle)
    sqlite_service.clock.push(days=15)
    ann.login()
    assert get_device_login_state(ann, idle) == "expired"


def test_request_is_deleted_with_its_session(make_service, database_url):
    service = make_service(database_url)
    ann, claimed, unclaimed, redeemed = (
        service.actor().sign_in(),
        start_device_login(service),
        start_device_login(service),
        start_device_login(service),
    )
    claim(ann, claimed.code)
    complete_device_login(ann, redeemed)

    def find_kept_ids() -> set[str]:
        delete_expired_data(service.units)
        with service.open_database() as db:
            return set(db.scalars(text("SELECT id FROM login_sessions")))

    assert find_kept_ids() == {claimed.id, unclaimed.id, redeemed.id}
    service.clock.push(days=2)
    assert find_kept_ids() == {claimed.id, redeemed.id}
    service.clock.push(days=29)
    assert find_kept_ids() == {redeemed.id}
    service.clock.push(days=30)
    assert find_kept_ids() == set()


def test_only_digests_are_stored(sqlite_service):
    _, box = sqlite_service.actor("ann").sign_in(), start_device_login(sqlite_service)
    with sqlite_service.open_database() as db:
        find_kept_ids = str(db.execute(text("SELECT * FROM login_sessions")).all()) + str(
            db.execute(text("SELECT * FROM audit")).all()
        )
    assert box.response["device_code"] not in find_kept_ids
    assert box.code not in find_kept_ids
    assert box.code.replace("-", "") not in find_kept_ids


def test_code_survives_a_new_secret_key(make_service, sqlite_url):
    old = make_service(sqlite_url)
    box, named = start_device_login(old), start_device_login(old)
    named.start(username="ann")
    new = make_service(sqlite_url, secret_key=("another key for tests 0123456789 another", SECRET))
    ann = new.actor("ann").sign_in()
    assert claim(ann, box.code).status_code == 200
    assert claim(ann, named.code).status_code == 200


@pytest.mark.parametrize(
    "name", ["a" * 256, "@" * 256, "\ufdfa" * 256, "\U0001f600" * 256, "two\nlines"]
)
def test_impossible_username_is_treated_like_an_unknown_one(service, ann, name):
    box = start_device_login(service)
    assert box.start(username=name).status_code == 201
    assert claim(ann, box.code).json["code"] == "unknown_user_code"


# Validation.


@pytest.mark.parametrize(
    "body",
    [
        {"client_name": ""},
        {"client_name": "a" * 65},
        {"client_name": "two\nlines"},
        {"client_name": "\u202etxt.exe"},
        {"client_name": "\u3164\u2800 "},
        {"hostname": "a" * 65},
        {"login_message": "a" * 201},
        {"login_message": "\x1b[2J"},
        {"scope": "orders read "},
        {"username": ""},
        {"expires_in": 59},
        {"expires_in": 365 * 86400 + 1},
        {"expires_in": "3600"},
        {"expires_in": True},
        {"unknown": 1},
        {"client_name": None},
    ],
)
def test_texts_shown_to_users_are_validated(sqlite_service, body):
    box = Device(sqlite_service.actor("box"))
    assert box.start(**body).status_code == 422
    assert sqlite_service.scalar("SELECT count(*) FROM login_sessions") == 0


def test_start_and_poll_are_rate_limited(make_service):
    service = make_service(limit_device="2/minute", limit_poll="3/minute")
    box = start_device_login(service)
    assert [box.start().status_code for _ in range(2)] == [201, 429]
    answers = [box.poll() for _ in range(4)]
    assert [(answer.status_code, answer.json["error"]) for answer in answers][-1] == (
        429,
        "slow_down",
    )
    assert box.cancel().status_code == 429
    assert box.actor.call("POST", "/oauth/device_authorization").status_code == 429


def test_methods_endpoint_lists_device_login(sqlite_service):
    items = sqlite_service.actor().get("/v1/methods").json["items"]
    assert [(item["type"], item["login_url"]) for item in items] == [
        ("password", "http://127.0.0.1:8080/v1/login"),
        ("device_code", "http://127.0.0.1:8080/login/activate"),
    ]
