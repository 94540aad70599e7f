"""Create and use API keys in tests."""

from __future__ import annotations

from app.accounts.models import Account
from app.authorization.models import AccountRole
from app.authorization.roles.assign import add_role
from app.credential_status.revocations import record_account_revocation
from app.principal import ClientInfo
from tests.actors import Actor

NOBODY = ClientInfo(address="", bucket="", user_agent="", request_id="", locale="en")


def add_role_to(service, actor: Actor, role: str) -> None:
    with service.units.open_read_write() as work:
        assert add_role(work, NOBODY, account_id=actor.tokens["account"]["id"], role=role)


def remove_role_from(service, actor: Actor, role: str) -> None:
    """Remove a role from the account."""
    with service.units.open_read_write() as work:
        account_id = actor.tokens["account"]["id"]
        work.db.delete(work.db.get_one(AccountRole, (account_id, role)))
        account = work.db.get_one(Account, account_id)
        account.roles_version += 1
        record_account_revocation(work, account)


def request_key(actor: Actor, name: str = "ci", scopes=("jobs:run",), **changes):
    return actor.post(
        "/v1/api-keys", {"name": name, "scopes": list(scopes), **changes}, token=actor.access
    )


def create_key(actor: Actor, name: str = "ci", scopes=("jobs:run",), **changes) -> dict:
    answer = request_key(actor, name, scopes, **changes)
    assert answer.status_code == 201, answer.json
    return answer.json


def call_whoami(service, key: str, **kwargs):
    """Call /v1/whoami with the key from another IP address."""
    return service.actor("program").get("/v1/whoami", headers={"X-API-Key": key}, **kwargs)


def sign_in_worker(service, name: str = "ann") -> Actor:
    """Register and log in a user with the role for jobs."""
    actor = service.actor(name).sign_in()
    add_role_to(service, actor, "worker")
    assert actor.login().status_code == 200
    return actor


def sign_in_administrator(service, name: str = "boss") -> Actor:
    actor = service.actor(name).sign_in()
    add_role_to(service, actor, "admin")
    assert actor.login().status_code == 200
    return actor


def get_key_status(actor: Actor, key_id: str) -> str:
    return actor.get(f"/v1/api-keys/{key_id}", token=actor.access).json["status"]


def rotate_key(actor: Actor, key_id: str, **body):
    return actor.post(f"/v1/api-keys/{key_id}/rotate", body, token=actor.access)


def report_leak(service, key):
    return service.actor("finder").post("/v1/api-keys/report-leak", {"key": key})
