"""The session cache.

A warm check is one round trip, and no content of Redis revives a revoked session.
"""

from __future__ import annotations

import base64
import json

import pytest
import redis

from app.authorization.roles.assign import add_role
from app.credential_status.session_cache import (
    CANARY_KEY,
    FILL_SESSION,
    build_account_cache_key,
    build_session_cache_key,
)
from app.principal import ClientInfo
from app.server.cache_watcher import CacheWatcher
from tests.request_cost import count_work


@pytest.fixture
def service(make_service, database_url, redis_url):
    """A service whose watcher has just run, as in a serving process."""
    service = make_service(database_url, redis_url=redis_url).freeze_clock()
    CacheWatcher().watch(service.units)
    return service


@pytest.fixture
def ann(service):
    return service.actor("ann").sign_in()


@pytest.fixture
def server(redis_url):
    client = redis.Redis.from_url(redis_url)
    yield client
    client.close()


@pytest.fixture
def keys(ann):
    account_id = ann.tokens["account"]["id"]
    return build_account_cache_key(account_id), build_session_cache_key(
        account_id, ann.tokens["session_id"]
    )


def test_warm_check_is_one_round_trip_and_no_sql(service, ann, server):
    assert ann.whoami().status_code == 200
    with count_work(service, server) as counts:
        for _ in range(5):
            assert ann.whoami().status_code == 200
    assert counts["sql"] == 0
    assert counts["commands"] == {"cmdstat_mget": 5}


def test_cache_miss_asks_the_database_and_fills_the_cache(service, ann, server, keys):
    ann.whoami()
    server.flushdb()
    with count_work(service, server) as counts:
        assert ann.whoami().status_code == 200
    assert counts["sql"] >= 1
    assert all(server.get(key) for key in keys)
    assert all(0 < server.pttl(key) <= 60_000 for key in keys)


def test_altered_token_of_a_cached_session_is_refused(ann):
    """The session is cached and never the token, so a known jti is not enough."""
    header, claims, signature = ann.access.split(".")
    words = json.loads(base64.urlsafe_b64decode(claims + "=="))
    for changes in (
        {"roles": ["admin"]},
        {"exp": words["exp"] + 600},
        {"preferred_username": "root"},
    ):
        altered = (
            base64.urlsafe_b64encode(json.dumps({**words, **changes}).encode())
            .rstrip(b"=")
            .decode()
        )
        assert ann.whoami().status_code == 200
        assert ann.whoami(f"{header}.{altered}.{signature}").status_code == 401
        assert ann.whoami(f"{header}.{altered}.").status_code == 401
    assert ann.whoami().json["roles"] == []


def test_logout_is_marked_and_refused_without_the_database(service, ann, server, keys):
    ann.whoami()
    assert ann.logout().status_code == 204
    assert server.get(keys[1]) == b"R"
    with count_work(service, server) as counts:
        assert ann.whoami().status_code == 401
    assert counts["sql"] == 0


def test_logout_everywhere_sets_a_minimum_epoch(ann, server, keys):
    ann.whoami()
    other = ann.service.actor("ann")
    other.login()
    assert other.whoami().status_code == 200
    assert ann.post("/v1/logout-all", token=ann.access).status_code == 204
    assert other.whoami().status_code == 401
    other.login()
    assert other.whoami().status_code == 200


def test_redis_flush_after_a_logout_revives_no_session(ann, server):
    ann.whoami()
    ann.logout()
    server.flushdb()
    assert ann.whoami().status_code == 401


def test_a_late_fill_cannot_undo_a_revocation(service, ann, server, keys):
    ann.whoami()
    fills = [server.get(key) for key in keys]
    ann.logout()
    assert (
        service.units.cache.run_script(FILL_SESSION, [keys[1]], [fills[1].decode(), 1, 60_000]) == 0
    )
    assert server.get(keys[1]) == b"R"


def test_watcher_repeats_unpublished_revocations(service, ann, server, keys):
    """A process died between commit and publish, and the entry still says valid."""
    ann.whoami()
    valid = {key: server.get(key) for key in keys}
    ann.logout()
    for key, value in valid.items():
        server.set(key, value, px=60_000)
    assert ann.whoami().status_code == 200  # the watcher is needed here
    CacheWatcher().watch(service.units)
    assert ann.whoami().status_code == 401


def test_watcher_republishes_everything_after_a_flush(service, ann, server, keys):
    watcher = CacheWatcher()
    ann.whoami()
    valid = {key: server.get(key) for key in keys}
    ann.logout()
    watcher.watch(service.units)
    service.clock.push(seconds=60)
    server.flushdb()
    for key, value in valid.items():
        server.set(key, value, px=60_000)
    watcher.watch(service.units)
    assert server.get(keys[1]) == b"R"
    assert server.get(CANARY_KEY)


def test_watcher_detects_a_restored_backup(service, ann, server, keys):
    watcher = CacheWatcher()
    watcher.watch(service.units)
    old_canary = server.get(CANARY_KEY)
    ann.whoami()
    valid = {key: server.get(key) for key in keys}
    service.clock.push(seconds=20)
    ann.logout()
    watcher.watch(service.units)
    service.clock.push(seconds=40)
    server.set(CANARY_KEY, old_canary)
    for key, value in valid.items():
        server.set(key, value, px=60_000)
    watcher.watch(service.units)
    assert server.get(keys[1]) == b"R"


@pytest.mark.parametrize(
    "junk", [b"", b"x", b"[]", b"[1]", b'["V"]', b"\xff", b"null", b"{}", b"5"]
)
def test_unreadable_cache_entry_falls_back_to_the_database(ann, server, keys, junk):
    ann.whoami()
    for key in keys:
        server.set(key, junk)
    assert ann.whoami().status_code == 200
    ann.logout()
    assert ann.whoami().status_code == 401


def test_expired_session_is_refused_despite_the_cache(service, ann):
    ann.login(expires_in=60)
    assert ann.whoami().status_code == 200
    service.clock.push(seconds=61)
    assert ann.whoami().status_code == 401


def test_cached_status_is_not_trusted_when_the_watcher_is_silent(
    make_service, database_url, redis_url, server
):
    """Redis is readable but not writable, or the watcher is dead: entries may be outdated."""
    service = make_service(database_url, redis_url=redis_url)
    ann = service.actor("ann").sign_in()
    assert ann.whoami().status_code == 200
    with count_work(service, server, watch_cache=False) as counts:
        assert ann.whoami().status_code == 200
    assert counts["sql"] >= 1


def test_without_redis_everything_works(make_service, database_url):
    bob = make_service(database_url, redis_url="redis://127.0.0.1:1/0").actor("bob")
    bob.sign_in()
    assert bob.whoami().status_code == 200
    assert bob.logout().status_code == 204
    assert bob.whoami().status_code == 401


def test_warm_check_includes_roles_and_a_grant_applies_at_once(service, ann, server):
    """For every way to grant a role."""
    assert ann.whoami().json["roles"] == []
    no_client = ClientInfo(address="", bucket="", user_agent="", request_id="", locale="en")
    with service.units.open_read_write() as work:
        assert add_role(work, no_client, account_id=ann.tokens["account"]["id"], role="editor")
        assert add_role(work, no_client, account_id=ann.tokens["account"]["id"], role="author")
        assert not add_role(work, no_client, account_id=ann.tokens["account"]["id"], role="author")
    assert ann.whoami().json["roles"] == ["author", "editor"]
    with count_work(service, server) as counts:
        assert ann.whoami().json["roles"] == ["author", "editor"]
    assert counts["sql"] == 0
    assert counts["commands"] == {"cmdstat_mget": 1}
    assert ann.refresh().json["account"]["roles"] == ["author", "editor"]
    assert ann.get("/v1/me", token=ann.access).json["roles"] == ["author", "editor"]


def test_cache_entry_without_roles_falls_back_to_the_database(service, ann, server, keys):
    ann.whoami()
    server.set(keys[0], json.dumps(json.loads(server.get(keys[0]))[:4]))
    with count_work(service, server) as counts:
        assert ann.whoami().status_code == 200
    assert counts["sql"] >= 1
