"""Accounts with roles, and their keys."""

from __future__ import annotations

from app.authorization.roles.assign import add_role
from app.principal import ClientInfo
from tests.actors import Actor, Service

ANONYMOUS = ClientInfo(address="", bucket="", user_agent="", request_id="", locale="en")
ROLES = {
    "founder": ("memberships:write:list", "roles:read"),
    "editor": ("articles:read", "articles:write"),
    "reader": ("articles:read",),
}


def sign_in_with_role(
    service: Service, username: str, *roles: str, scope: str | None = None, **details: str
) -> Actor:
    """Create a user with these roles who has just logged in.

    The first administrator needs the command line, so roles are inserted.
    """
    actor = service.actor(username, **details).sign_up()
    account_id = service.scalar("SELECT id FROM accounts WHERE username = :name", name=username)
    with service.units.open_read_write() as work:
        for role in roles:
            assert add_role(work, ANONYMOUS, account_id=account_id, role=role)
    assert actor.login(**({} if scope is None else {"scope": scope})).status_code == 200
    return actor


def get_account_id(actor: Actor) -> str:
    return actor.tokens["account"]["id"]


def create_key(actor: Actor, *scopes: str) -> str:
    answer = actor.post(
        "/v1/api-keys",
        {"name": " ".join(scopes) or "none", "scopes": list(scopes), "expires_in": 86400},
        token=actor.access,
    )
    assert answer.status_code == 201, answer.json
    return answer.json["key"]


def assign_role(boss: Actor, actor: Actor, role: str):
    return boss.call("PUT", f"/v1/accounts/{get_account_id(actor)}/roles/{role}", token=boss.access)


def remove_role(boss: Actor, actor: Actor, role: str):
    return boss.call(
        "DELETE", f"/v1/accounts/{get_account_id(actor)}/roles/{role}", token=boss.access
    )


def grant_membership(
    actor: Actor,
    target: Actor | str,
    level: str,
    *,
    resource: str = "list/7",
    token: str | None = None,
):
    account_id = target if isinstance(target, str) else get_account_id(target)
    return actor.call(
        "PUT",
        f"/v1/memberships/{resource}/{account_id}",
        json={"level": level},
        token=token or actor.access,
    )


def revoke_membership(
    actor: Actor, target: Actor | str, *, resource: str = "list/7", token: str | None = None
):
    account_id = target if isinstance(target, str) else get_account_id(target)
    return actor.call(
        "DELETE", f"/v1/memberships/{resource}/{account_id}", token=token or actor.access
    )


def list_roles(actor: Actor, target: Actor, query: str = "?resource=list&id=7") -> list[str]:
    answer = actor.get(f"/v1/accounts/{get_account_id(target)}/roles{query}", token=actor.access)
    assert answer.status_code == 200, answer.json
    return answer.json["roles"]
