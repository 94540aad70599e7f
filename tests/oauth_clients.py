"""Programs with API keys, and requests of OAuth clients."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlencode

from app.authorization.roles.assign import add_role
from app.principal import ClientInfo
from tests.actors import Actor, Service

SCOPES = ("orders:read", "orders:write", "revocations:read", "tokens:introspect")
ROLES = {"robot": SCOPES}
ANONYMOUS = ClientInfo(address="", bucket="", user_agent="", request_id="", locale="en")


def grant_role_and_log_in(service: Service, actor: Actor, role: str = "robot") -> None:
    """Grant the role and log in again."""
    with service.units.open_read_write() as work:
        assert add_role(work, ANONYMOUS, account_id=actor.tokens["account"]["id"], role=role)
    assert actor.login().status_code == 200


def create_key_owner(service: Service, name: str = "ann") -> Actor:
    """Create a user who may create keys with the scopes of the tests."""
    actor = service.actor(name).sign_in()
    grant_role_and_log_in(service, actor)
    return actor


def create_key(actor: Actor, *scopes: str, name: str = "robot", **changes: Any) -> dict[str, Any]:
    """Create an API key for the actor."""
    answer = actor.post(
        "/v1/api-keys", {"name": name, "scopes": list(scopes), **changes}, token=actor.access
    )
    assert answer.status_code == 201, answer.text
    return answer.json


def build_basic_auth(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def post_form(
    actor: Actor,
    path: str,
    fields: Any = (),
    *,
    headers: dict[str, str] | None = None,
    query: str = "",
):
    """Send a form: a mapping, pairs, or the raw text."""
    body = fields if isinstance(fields, str | bytes) else urlencode(fields)
    return actor.call(
        "POST",
        path + query,
        data=body,
        content_type="application/x-www-form-urlencoded",
        headers=headers,
    )


def request_client_token(actor: Actor, key: dict[str, Any], **fields: str):
    """Request a token with client credentials in HTTP Basic."""
    return post_form(
        actor,
        "/oauth/token",
        {"grant_type": "client_credentials", **fields},
        headers=build_basic_auth(key["id"], key["key"]),
    )


def assert_oauth_error(answer, status: int, error: str) -> None:
    """Assert an error in the exact format of RFC 6749 section 5.2."""
    assert answer.status_code == status, answer.text
    assert answer.content_type == "application/json"
    assert set(answer.json) == {"error", "error_description"}
    assert answer.json["error"] == error
    assert answer.json["error_description"].isascii()
    assert '"' not in answer.json["error_description"]
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert (status == 401) == (
        "WWW-Authenticate" in answer.headers
        and answer.headers["WWW-Authenticate"].startswith("Basic ")
    )
