"""The API key cache.

A warm check is two round trips, and no content of Redis extends the rights of a key.
"""

from __future__ import annotations

import json
from itertools import product

import pytest
import redis
from sqlalchemy import text

from app.credential_status.api_key_cache import build_api_key_cache_key, cache_api_key
from app.credential_status.session_cache import build_account_cache_key
from app.opaque_tokens import compute_digest, generate_id, generate_token
from app.server.cache_watcher import CacheWatcher
from app.verification.api_key_lookup import find_api_key_state
from tests.api_keys import (
    add_role_to,
    call_whoami,
    create_key,
    get_key_status,
    remove_role_from,
    report_leak,
    rotate_key,
    sign_in_worker,
)
from tests.request_cost import count_work

ROLES = {"worker": ("jobs:read", "jobs:run"), "clerk": ("orders:read",)}
ROUND_TRIPS = ("cmdstat_evalsha", "cmdstat_mget")  # the rest happens inside the scripts


@pytest.fixture
def make_cached_service(make_service, redis_url):
    """Build services whose watchers have just run, as in a serving process."""

    def make(database_url: str | None = None, **changes):
        service = make_service(
            database_url, redis_url=redis_url, roles=ROLES, **changes
        ).freeze_clock()
        CacheWatcher().watch(service.units)
        return service

    return make


@pytest.fixture
def service(make_cached_service, database_url):
    return make_cached_service(database_url)


@pytest.fixture
def ann(service):
    return sign_in_worker(service)


@pytest.fixture
def server(redis_url):
    client = redis.Redis.from_url(redis_url)
    yield client
    client.close()


def count_round_trips(counts: dict) -> int:
    return sum(counts["commands"].get(name, 0) for name in ROUND_TRIPS)


def test_warm_check_with_its_rate_limit_is_two_round_trips_and_no_sql(service, ann, server):
    key = create_key(ann)
    assert call_whoami(service, key["key"]).status_code == 200
    with count_work(service, server) as counts:
        for _ in range(5):
            assert call_whoami(service, key["key"]).status_code == 200
    assert (counts["sql"], count_round_trips(counts)) == (0, 10)
    assert server.get(f"{build_api_key_cache_key(key['id'])}:n:60") == b"6"


def test_wrong_secret_is_refused_in_one_round_trip_and_not_counted(service, ann, server):
    key = create_key(ann)
    call_whoami(service, key["key"])
    wrong = generate_token("dwk", key["id"]).token
    with count_work(service, server) as counts:
        assert {call_whoami(service, wrong).status_code for _ in range(5)} == {401}
    assert (counts["sql"], count_round_trips(counts)) == (0, 5)
    assert server.get(f"{build_api_key_cache_key(key['id'])}:n:60") == b"1"


def test_junk_is_refused_without_any_round_trip(service, ann, server):
    key = create_key(ann)["key"]
    call_whoami(service, key)
    with count_work(service, server) as counts:
        for number in range(100):
            assert call_whoami(service, f"{key[:-6]}{number:06}").status_code == 401
    assert counts["sql"] == 0
    assert counts["commands"] == {}


def test_unknown_key_leaves_no_cache_entry(service, server):
    before = set(server.scan_iter())
    with count_work(service, server) as counts:
        for _ in range(20):
            assert (
                call_whoami(service, generate_token("dwk", generate_id("key")).token).status_code
                == 401
            )
    assert count_round_trips(counts) == 20
    assert {key for key in server.scan_iter() if not key.startswith(b"dw1:canary")} <= before


def test_secret_is_compared_on_a_cache_hit_too(service, ann, server):
    """An entry with another secret does not match, and the id alone is not enough."""
    key = create_key(ann)
    call_whoami(service, key["key"])
    remembered = json.loads(server.get(build_api_key_cache_key(key["id"])))
    assert key["key"] not in str(remembered)
    assert remembered[2] == compute_digest(key["key"])
    server.set(
        build_api_key_cache_key(key["id"]),
        json.dumps([*remembered[:2], "0" * 64, *remembered[3:]]),
        px=60_000,
    )
    assert call_whoami(service, key["key"]).status_code == 401


def test_unreadable_cache_entry_falls_back_to_the_database(make_cached_service, server):
    service = make_cached_service()
    ann = sign_in_worker(service)
    key = create_key(ann)
    names = build_api_key_cache_key(key["id"]), build_account_cache_key(ann.tokens["account"]["id"])
    for damaged, junk in product(
        names,
        (
            b"",
            b"x",
            b"[]",
            b"[1]",
            b"\xff",
            b"null",
            b"{}",
            b"5",
            b'[1,"acc_x","d",null,null,"jobs:run",null]',
        ),
    ):
        call_whoami(service, key["key"])
        server.set(damaged, junk)
        assert call_whoami(service, key["key"]).json["scopes"] == ["jobs:run"]
    ann.call("DELETE", f"/v1/api-keys/{key['id']}", token=ann.access)
    assert call_whoami(service, key["key"]).status_code == 401


def delete(ann, key):
    assert ann.call("DELETE", f"/v1/api-keys/{key['id']}", token=ann.access).status_code == 204


def remove_scopes(ann, key):
    assert (
        ann.call(
            "PATCH", f"/v1/api-keys/{key['id']}", json={"scopes": []}, token=ann.access
        ).status_code
        == 200
    )


def rotate(ann, key):
    assert rotate_key(ann, key["id"], overlap_seconds=0).status_code == 200


def report_key(ann, key):
    assert report_leak(ann.service, key["key"]).status_code == 204


def remove_worker_role(ann, _key):
    remove_role_from(ann.service, ann, "worker")


CHANGES = (delete, remove_scopes, rotate, report_key, remove_worker_role)


def has_no_rights(service, key) -> bool:
    answer = call_whoami(service, key["key"])
    return answer.status_code == 401 or answer.json["scopes"] == []


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_applies_at_the_next_use_despite_the_cache(service, ann, server, change):
    key = create_key(ann)
    assert call_whoami(service, key["key"]).json["scopes"] == ["jobs:run"]
    change(ann, key)
    assert has_no_rights(service, key)
    server.flushall()
    assert has_no_rights(service, key)


@pytest.mark.parametrize("change", CHANGES)
def test_slow_reader_cannot_undo_a_change(make_cached_service, server, change):
    """The reader read before the change, and fills the cache after it."""
    service = make_cached_service()
    ann = sign_in_worker(service)
    key = create_key(ann)
    call_whoami(service, key["key"])
    with service.units.open_read_only() as work:
        slow = find_api_key_state(work, key["id"])
    entry = server.get(build_account_cache_key(ann.tokens["account"]["id"]))
    change(ann, key)
    cache_api_key(service.units.cache, key["id"], slow.cache_entry)
    assert has_no_rights(service, key)
    cache_api_key(service.units.cache, key["id"], slow.cache_entry)
    assert has_no_rights(service, key)
    assert (
        server.get(build_account_cache_key(ann.tokens["account"]["id"])) != entry
        or change is not remove_worker_role
    )


@pytest.mark.parametrize("change", CHANGES)
def test_watcher_repeats_unpublished_changes(make_cached_service, server, change):
    """A process died between commit and publish, and a flush left an older copy."""
    service, watcher = make_cached_service(), CacheWatcher()
    watcher.watch(service.units)
    ann = sign_in_worker(service)
    key = create_key(ann)
    call_whoami(service, key["key"])
    names = build_api_key_cache_key(key["id"]), build_account_cache_key(ann.tokens["account"]["id"])
    old = {name: server.get(name) for name in names}
    change(ann, key)
    for lost in (server.ping, server.flushall):
        lost()
        for name, value in old.items():
            server.set(name, value, px=60_000)
        assert not has_no_rights(service, key)  # the watcher is needed here
        (watcher if lost == server.flushall else CacheWatcher()).watch(service.units)
        assert has_no_rights(service, key)


def test_new_secret_works_where_the_old_one_was_cached(service, ann, server):
    key = create_key(ann)
    call_whoami(service, key["key"])
    new = rotate_key(ann, key["id"], overlap_seconds=60).json["key"]
    assert [call_whoami(service, one).status_code for one in (new, key["key"])] == [200, 200]
    with count_work(service, server) as counts:
        assert [call_whoami(service, one).status_code for one in (new, key["key"])] == [200, 200]
    assert (counts["sql"], count_round_trips(counts)) == (0, 4)


def test_expired_secret_does_not_use_up_the_rate_limit(service, ann, server):
    key = create_key(ann)
    rotate_key(ann, key["id"], overlap_seconds=60)
    call_whoami(service, key["key"])
    service.clock.push(seconds=61)
    CacheWatcher().watch(service.units)
    assert call_whoami(service, key["key"]).status_code == 401
    assert server.get(f"{build_api_key_cache_key(key['id'])}:n:60") == b"1"


def test_expired_key_is_refused_despite_the_cache(service, ann, server):
    key = create_key(ann, expires_in=60)
    assert call_whoami(service, key["key"]).status_code == 200
    service.clock.push(seconds=61)
    assert call_whoami(service, key["key"]).status_code == 401
    server.flushall()
    assert call_whoami(service, key["key"]).status_code == 401


def test_changed_rights_apply_in_a_warm_check(service, ann, server):
    key = create_key(ann)
    call_whoami(service, key["key"])
    remove_role_from(service, ann, "worker")
    assert call_whoami(service, key["key"]).json["scopes"] == []
    with count_work(service, server) as counts:
        assert call_whoami(service, key["key"]).json["scopes"] == []
    assert (counts["sql"], count_round_trips(counts)) == (0, 2)
    add_role_to(service, ann, "worker")
    assert call_whoami(service, key["key"]).json["scopes"] == ["jobs:run"]


def test_rate_limit_is_shared_by_all_processes(make_cached_service, sqlite_url):
    one, other = (
        make_cached_service(sqlite_url, limit_key="4/minute;100/hour"),
        make_cached_service(sqlite_url, limit_key="4/minute;100/hour"),
    )
    key = create_key(sign_in_worker(one))["key"]
    assert [
        call_whoami(process, key).status_code for process in (one, other, one, other, one, other)
    ] == [200] * 4 + [429] * 2
    refused = call_whoami(other, key)
    assert refused.headers["RateLimit-Policy"] == '"key";q=4;w=60'
    assert 1 <= int(refused.headers["Retry-After"]) <= 60


def test_every_window_of_a_rate_limit_applies(make_cached_service, server):
    service = make_cached_service(limit_key="100/minute;2/hour")
    key = create_key(sign_in_worker(service))
    assert [call_whoami(service, key["key"]).status_code for _ in range(3)] == [200, 200, 429]
    assert call_whoami(service, key["key"]).headers["RateLimit-Policy"] == '"key";q=2;w=3600'
    assert server.pttl(f"{build_api_key_cache_key(key['id'])}:n:3600") > 3_500_000


def test_without_redis_each_process_enforces_its_share(make_service):
    service = make_service(redis_url="redis://127.0.0.1:1/0", roles=ROLES, limit_key="3/minute")
    ann = sign_in_worker(service)
    key = create_key(ann)["key"]
    assert [call_whoami(service, key).status_code for _ in range(4)] == [200, 200, 200, 429]
    assert call_whoami(service, generate_token("dwk", generate_id("key")).token).status_code == 401


def test_without_the_database_cached_keys_pass_and_others_get_503(make_cached_service, server):
    service = make_cached_service()
    ann = sign_in_worker(service)
    key = create_key(ann)["key"]
    call_whoami(service, key)
    CacheWatcher().watch(service.units)
    with service.open_database() as db:
        db.execute(text("ALTER TABLE api_keys RENAME TO away"))
    assert call_whoami(service, key).status_code == 200
    assert call_whoami(service, generate_token("dwk", generate_id("key")).token).status_code == 503
    server.delete(build_account_cache_key(ann.tokens["account"]["id"]))
    assert call_whoami(service, key).status_code == 503
    server.flushall()
    refused = call_whoami(service, key)
    assert (refused.status_code, refused.json["code"]) == (503, "unavailable")
    assert "Retry-After" in refused.headers


def test_full_cache_is_bypassed(make_cached_service, server):
    service = make_cached_service(limit_key="3/minute")
    ann = sign_in_worker(service)
    key = create_key(ann)
    call_whoami(service, key["key"])
    configuration = server.config_get("maxmemory", "maxmemory-policy")
    server.config_set("maxmemory", 1, "maxmemory-policy", "noeviction")
    try:
        assert [call_whoami(service, key["key"]).status_code for _ in range(4)] == [
            200,
            200,
            200,
            429,
        ]
        assert call_whoami(service, generate_token("dwk", key["id"]).token).status_code == 401
        delete(ann, key)
        assert call_whoami(service, key["key"]).status_code == 401
    finally:
        server.config_set(
            "maxmemory",
            configuration["maxmemory"],
            "maxmemory-policy",
            configuration["maxmemory-policy"],
        )


def test_revocation_marker_outlives_every_reader(service, ann, server):
    key = create_key(ann)
    call_whoami(service, key["key"])
    delete(ann, key)
    name = build_api_key_cache_key(key["id"])
    assert server.get(name) == b"R"
    assert server.pttl(name) > 300_000
    with count_work(service, server) as counts:
        assert call_whoami(service, key["key"]).status_code == 401
    assert (counts["sql"], count_round_trips(counts)) == (0, 1)
    assert get_key_status(ann, key["id"]) == "deleted"
