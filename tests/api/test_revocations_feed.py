"""The feed of revocations: its cursor misses nothing, in any order of commits."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.credential_status.models import Revocation
from app.signing_keys.revoke import revoke_signing_key
from tests.oauth_clients import ROLES, create_key, create_key_owner


@pytest.fixture
def service(make_service, database_url):
    return make_service(database_url, roles=ROLES)


@pytest.fixture
def sqlite_service(make_service):
    return make_service(roles=ROLES)


class Follower:
    """A verifier that continues at its cursor."""

    def __init__(self, service, ann) -> None:
        self.actor = service.actor("verifier")
        self.key = create_key(ann, "revocations:read", name="verifier")["key"]
        self.cursor = None
        self.pages = 0

    def get_page(self, since=None, **headers):
        path = "/v1/revocations" + (f"?since={since}" if since else "")
        return self.actor.get(path, headers={"X-API-Key": self.key, **headers})

    def read(self) -> list[dict]:
        found, more = [], True
        while more:
            answer = self.get_page(self.cursor)
            assert answer.status_code == 200, answer.text
            found += answer.json["items"]
            self.cursor, more = answer.json["next"], answer.json["more"]
            self.pages += 1
        return found


@pytest.fixture
def ann(service):
    return create_key_owner(service)


@pytest.fixture
def follower(service, ann):
    return Follower(service, ann)


def insert_revocation(
    service, ref: str, *, ago: float = 0, number: int | None = None
) -> Revocation:
    """Insert a row as a transaction that began earlier and commits now."""
    at = service.clock.now() - timedelta(seconds=ago)
    row = Revocation(
        id=number,
        kind="session",
        ref=ref,
        account_id="acc_x",
        epoch=1,
        roles_version=0,
        status="active",
        at=at,
    )
    with service.open_database() as db:
        db.add(row)
    return row


def list_refs(items) -> list[str]:
    return [item["ref"] for item in items]


def test_each_kind_of_revocation_has_the_values_a_verifier_compares(service, ann, follower):
    follower.read()
    other, key = ann.from_another_address(), create_key(ann, "orders:read", "orders:write")
    other.login()
    session_id = other.tokens["session_id"]
    assert other.logout().status_code == 204
    ann.call(
        "PATCH", f"/v1/api-keys/{key['id']}", json={"scopes": ["orders:read"]}, token=ann.access
    )
    ann.call("DELETE", f"/v1/api-keys/{key['id']}", token=ann.access)
    account_id = ann.tokens["account"]["id"]
    assert ann.post("/v1/logout-all", token=ann.access).status_code == 204
    items = follower.read()
    session = next(item for item in items if item["ref"] == session_id)
    assert set(session) == {"kind", "ref", "account_id", "epoch", "roles_version", "status", "at"}
    assert (session["kind"], session["account_id"]) == ("session", account_id)
    assert session["at"].endswith("Z")
    assert [(item["kind"], item["status"]) for item in items if item["ref"] == key["id"]] == [
        ("key", "changed"),
        ("key", "ended"),
    ]
    account = [item for item in items if item["ref"] == account_id][-1]
    assert (account["kind"], account["epoch"], account["status"]) == ("account", 2, "active")


def test_without_a_cursor_all_retained_revocations_are_returned(service, follower):
    follower.read()
    insert_revocation(service, "ses_old", ago=74 * 60)
    insert_revocation(service, "ses_older", ago=76 * 60)
    follower.cursor = None
    found = list_refs(follower.read())
    assert "ses_old" in found
    assert "ses_older" not in found


def test_late_commit_is_not_missed(service, follower):
    """Commit a row with an earlier id and time than one that was already read."""
    insert_revocation(service, "ses_first", number=1000)
    assert "ses_first" in list_refs(follower.read())
    insert_revocation(service, "ses_late", ago=15, number=900)
    assert "ses_late" in list_refs(follower.read())


def test_cursor_is_stable_while_nothing_happens(service, follower):
    insert_revocation(service, "ses_a")
    assert "ses_a" in list_refs(follower.read())
    assert "ses_a" in list_refs(follower.read())
    service.clock.push(seconds=21)
    follower.read()
    assert follower.read() == []
    cursor = follower.cursor
    service.clock.push(hours=3)
    assert follower.read() == []
    assert follower.cursor == cursor
    insert_revocation(service, "ses_b")
    assert list_refs(follower.read()) == ["ses_b"]


def test_many_rows_are_paged_and_late_rows_come_with_the_next_read(service, follower):
    follower.read()
    service.clock.push(seconds=30)
    follower.read()
    at = service.clock.now()
    with service.open_database() as db:
        db.add_all(
            Revocation(
                kind="session",
                ref=f"ses_{number}",
                account_id="acc_x",
                epoch=1,
                roles_version=0,
                status="active",
                at=at,
            )
            for number in range(2500)
        )
    follower.pages = 0
    first = follower.get_page(follower.cursor).json
    assert (len(first["items"]), first["more"]) == (1000, True)
    insert_revocation(service, "ses_meanwhile", ago=10, number=90000)
    follower.cursor = first["next"]
    found = list_refs(first["items"]) + list_refs(follower.read())
    assert follower.pages == 2
    assert sorted(ref for ref in found if ref != "ses_meanwhile") == sorted(
        f"ses_{number}" for number in range(2500)
    )
    assert "ses_meanwhile" in list_refs(follower.read())


def test_revoked_signing_key_increments_the_global_epoch(service, ann, follower):
    before = follower.get_page().json["global_epoch"]
    kid = ann.get("/.well-known/jwks.json").json["keys"][0]["kid"]
    with service.units.open_read_write() as work:
        assert revoke_signing_key(work, kid=kid)
    page = follower.get_page().json
    assert page["global_epoch"] == before + 1
    (item,) = [item for item in page["items"] if item["kind"] == "global"]
    assert kid.startswith(item["ref"])
    assert "account_id" not in item


def test_response_is_privately_cacheable_for_a_second(service, follower):
    service.clock.push(seconds=21)
    follower.read()
    follower.read()
    answer = follower.get_page(follower.cursor)
    assert set(answer.headers["Cache-Control"].split(", ")) == {"private", "max-age=1"}
    assert "Authorization" in answer.headers["Vary"]
    assert "X-API-Key" in answer.headers["Vary"]
    again = follower.get_page(follower.cursor, **{"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304
    assert again.get_data() == b""
    insert_revocation(service, "ses_new")
    assert (
        follower.get_page(follower.cursor, **{"If-None-Match": answer.headers["ETag"]}).status_code
        == 200
    )


def test_only_issued_cursors_are_accepted(sqlite_service):
    follower = Follower(sqlite_service, create_key_owner(sqlite_service))
    follower.read()
    body, _, mac = follower.cursor.partition(".")
    for since in (
        "x",
        "0",
        body,
        f"{body}.",
        f".{mac}",
        f"{body[:-1]}A.{mac}",
        f"{body}.{'0' * len(mac)}",
    ):
        if since != follower.cursor:
            assert follower.get_page(since).status_code == 422, since
    assert (
        follower.actor.get(
            "/v1/revocations?page=2", headers={"X-API-Key": follower.key}
        ).status_code
        == 422
    )


def test_feed_requires_its_scope(sqlite_service):
    ann = create_key_owner(sqlite_service)
    weak = create_key(ann, "orders:read", name="weak")
    assert ann.get("/v1/revocations").status_code == 401
    assert ann.get("/v1/revocations", headers={"X-API-Key": weak["key"]}).status_code == 403
    assert sqlite_service.actor("bob").sign_in().whoami().status_code == 200
    bob = sqlite_service.actor("carl").sign_in()
    assert bob.get("/v1/revocations", token=bob.access).status_code == 403
    assert ann.get("/v1/revocations", token=ann.access).status_code == 200
