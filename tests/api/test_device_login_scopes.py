"""Scopes of device logins: what was requested, limited by the client and the approving session."""

from __future__ import annotations

import jwt
import pytest

from app.settings import ConfiguredClient
from tests.administrators import create_administrator, get_account_id
from tests.authorization import sign_in_with_role
from tests.device_logins import Device, claim, complete_device_login, decide, start_device_login

ROLES = {"clerk": ("orders:read", "orders:write", "list:*")}
CLIENTS = {"job": ("Job", ("orders:read", "list:7")), "free": ("Free", None), "none": ("None", ())}


@pytest.fixture
def service(make_service):
    return make_service(
        roles=ROLES, clients={name: ConfiguredClient(*rest) for name, rest in CLIENTS.items()}
    )


def sign_in_clerk(service, **login):
    ann = sign_in_with_role(service, "ann", "clerk")
    assert ann.login(**login).status_code == 200
    return ann


@pytest.mark.parametrize(
    ("client", "requested", "mine", "granted"),
    [
        ("free", "orders:read stocks:write", None, "orders:read"),
        ("free", None, None, "list:* orders:read orders:write"),
        ("job", None, None, "list:7 orders:read"),
        ("job", "orders:read orders:write", None, "orders:read"),
        ("job", "list:*", None, "list:7"),
        ("job", "list:8", None, ""),
        ("none", "orders:read", None, ""),
        ("free", None, "orders:write", "orders:write"),
        ("free", "list:*", "list:3", "list:3"),
        ("free", "", None, ""),
    ],
)
def test_scope_is_the_intersection_of_request_client_and_approver(
    service, client, requested, mine, granted
):
    ann = sign_in_clerk(service, **({"scope": mine} if mine else {}))
    box = start_device_login(service, client_id=client)
    box.start(**({"scope": requested} if requested is not None else {}))
    tokens = complete_device_login(ann, box)
    assert tokens["scope"] == granted
    assert box.actor.whoami(tokens["access_token"]).json["scopes"] == granted.split()


def test_scope_the_approver_lacked_is_not_granted_later(service):
    ann, box = sign_in_clerk(service), start_device_login(service, client_id="free")
    box.start(scope="orders:read stocks:write")
    assert claim(ann, box.code).json["scope"] == "orders:read stocks:write"
    assert decide(ann, box, "approve").json["granted_scope"] == "orders:read"


def test_withdrawn_rights_leave_the_session_too(service):
    ann, box = sign_in_clerk(service), start_device_login(service, client_id="free")
    boss = create_administrator(service)
    tokens = complete_device_login(ann, box)
    boss.call("DELETE", f"/v1/accounts/{get_account_id(ann)}/roles/clerk", token=boss.access)
    assert box.actor.whoami(tokens["access_token"]).json["scopes"] == []


def test_admin_scope_must_be_requested_explicitly(service):
    boss = create_administrator(service)
    limited, unlimited = start_device_login(service), start_device_login(service)
    limited.start(scope="roles:read")
    assert "admin" not in list_roles(limited, complete_device_login(boss, limited))
    tokens = complete_device_login(boss, unlimited)
    assert list_roles(unlimited, tokens) == ["admin"]
    # The session has no recent authentication, so it can read and cannot change accounts.
    access = tokens["access_token"]
    assert unlimited.actor.get("/v1/accounts", token=access).status_code == 200
    target = f"/v1/accounts/{boss.tokens['account']['id']}/end-sessions"
    assert unlimited.actor.post(target, token=access).json["code"] == "reauthentication_required"


def list_roles(box: Device, tokens) -> list[str]:
    return box.actor.whoami(tokens["access_token"]).json["roles"]


def test_clients_show_the_configured_name(service):
    ann, box = sign_in_clerk(service), start_device_login(service, client_id="job")
    seen = claim(ann, box.code).json
    assert (seen["client_id"], seen["client_name"]) == ("job", "Job")
    decide(ann, box, "approve")
    tokens = box.poll().json
    assert (
        jwt.decode(tokens["access_token"], options={"verify_signature": False})["client_id"]
        == "job"
    )
    assert (
        next(
            s for s in ann.get("/v1/sessions", token=ann.access).json["items"] if s["id"] == box.id
        )["client_id"]
        == "job"
    )


def test_unknown_client_gets_no_code(service):
    box = Device(service.actor("box"), {"client_id": "stranger"})
    assert list(box.start().json["errors"]) == ["/client_id"]
    answer = box.actor.call("POST", "/oauth/device_authorization", data={"client_id": "stranger"})
    assert (answer.status_code, answer.json["error"]) == (401, "invalid_client")
    with_secret = box.actor.call(
        "POST", "/oauth/device_authorization", data={"client_id": "job", "client_secret": "x"}
    )
    assert with_secret.json["error"] == "invalid_client"


def test_codes_and_refresh_tokens_are_bound_to_their_client(service):
    ann, box = sign_in_clerk(service), start_device_login(service, client_id="job")
    claim(ann, box.code)
    decide(ann, box, "approve")
    assert box.get_poll_result(client_id="free") == "invalid_grant"
    assert box.get_poll_result(client_id="doorward") == "invalid_grant"
    refresh_token = box.poll().json["refresh_token"]

    def refresh(client_id):
        form = {
            "grant_type": "refresh_token",
            "refresh_token": refresh_token,
            "client_id": client_id,
        }
        answer = box.actor.call("POST", "/oauth/token", data=form)
        return answer.json.get("error", "tokens")

    assert [refresh(client) for client in ("free", "doorward", "job")] == [
        "invalid_grant",
        "invalid_grant",
        "tokens",
    ]
