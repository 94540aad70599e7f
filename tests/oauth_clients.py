"""Programs: API keys with scopes, and what an OAuth client sends."""

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
    """The role, and a session that has it."""
    with service.units.open_read_write() as work:
        assert add_role(work, ANONYMOUS, account_id=actor.tokens["account"]["id"], role=role)
    assert actor.login().status_code == 200


def create_key_owner(service: Service, name: str = "ann") -> Actor:
    """Somebody who may do what robots do."""
    actor = service.actor(name).sign_in()
    grant_role_and_log_in(service, actor)
    return actor


def create_key(actor: Actor, *scopes: str, name: str = "robot", **changes: Any) -> dict[str, Any]:
    """A new API key of the actor."""
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
    """A form as a client sends it: a mapping, pairs, or the text itself."""
    body = fields if isinstance(fields, str | bytes) else urlencode(fields)
    return actor.call(
        "POST",
        path + query,
        data=body,
        content_type="application/x-www-form-urlencoded",
        headers=headers,
    )


def request_client_token(actor: Actor, key: dict[str, Any], **fields: str):
    """Client credentials, by Basic."""
    return post_form(
        actor,
        "/oauth/token",
        {"grant_type": "client_credentials", **fields},
        headers=build_basic_auth(key["id"], key["key"]),
    )
