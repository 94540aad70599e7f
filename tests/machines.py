"""Programs: API keys with scopes, and what an OAuth client sends."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlencode

from app.authorization.roles.add_role import add_role
from app.principal import ClientInfo
from tests.actors import Actor, Service

SCOPES = ("orders:read", "orders:write", "revocations:read", "tokens:introspect")
ROLES = {"robot": SCOPES}
NOBODY = ClientInfo(address="", bucket="", user_agent="", request_id="", locale="en")


def give(service: Service, actor: Actor, role: str = "robot") -> None:
    """The role, and a session that has it."""
    with service.units.writing() as work:
        assert add_role(work, NOBODY, account_id=actor.tokens["account"]["id"], role=role)
    assert actor.login().status_code == 200


def owner(service: Service, name: str = "ann") -> Actor:
    """Somebody who may do what robots do."""
    actor = service.actor(name).signed_in()
    give(service, actor)
    return actor


def key_of(actor: Actor, *scopes: str, name: str = "robot", **changes: Any) -> dict[str, Any]:
    """A new API key of the actor."""
    answer = actor.post(
        "/v1/api-keys", {"name": name, "scopes": list(scopes), **changes}, token=actor.access
    )
    assert answer.status_code == 201, answer.text
    return answer.json


def basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def form(
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


def token_of(actor: Actor, key: dict[str, Any], **fields: str):
    """Client credentials, by Basic."""
    return form(
        actor,
        "/oauth/token",
        {"grant_type": "client_credentials", **fields},
        headers=basic(key["id"], key["key"]),
    )
