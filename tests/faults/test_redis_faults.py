"""Redis failures never revive a revoked session, reject a valid one, or delay requests."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import pytest
import redis
from sqlalchemy import event

from app.credential_status.session_cache import CANARY_KEY, build_session_cache_key
from app.server.cache_watcher import CacheWatcher
from tests.faults.cluster import LOGINS, LONG, USERS, Cluster
from tests.live import ROOT, LiveServer
from tests.postgres import delete_all_rows, find_free_port, terminate_with_parent

CALM, FAULT, AFTER = (5.0, 10.0, 8.0) if LONG else (0.4, 1.5, 0.6)
# The promised bound for a revoked session: the watcher repeats a lost publish every 0.8 s.
BOUND = 1.5
# A Redis that can be read but not written is trusted for two more seconds; a response may take a
# little longer.
UNWRITABLE_BOUND = 2.3
UNWRITABLE_FAULT = 10.0 if LONG else 3.0  # longer than the bound, otherwise nothing could exceed it
FAILOVER_BOUND = 5.0
RECOVERY_SECONDS = 1.0  # one run of every watcher
ENOUGH = 11  # sessions that were ended
MAX_SECONDS = 1.2  # a request that waits for Redis takes longer


@pytest.fixture(scope="module")
def cluster(postgres_url, tmp_path_factory):
    delete_all_rows(postgres_url)
    cluster = Cluster(postgres_url, tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


@pytest.fixture
def ledger(cluster):
    ledger = cluster.create_ledger()
    yield ledger
    ledger.stop()
    heal(cluster)


def heal(cluster: Cluster) -> None:
    cluster.valkey.thaw()
    if cluster.valkey.process.poll() is not None:
        cluster.valkey.start()
    client = cluster.redis()
    for name, value in (("maxmemory", "0"), ("min-replicas-to-write", "0"), ("requirepass", "")):
        try:
            client.config_set(name, value)
        except redis.AuthenticationError:
            client = cluster.redis(password="other")
            client.config_set(name, value)
    client.close()


def flush(cluster: Cluster) -> None:
    cluster.redis().flushall()


def kill(cluster: Cluster) -> None:
    cluster.valkey.kill()


def restart_empty(cluster: Cluster) -> None:
    cluster.valkey.kill()
    cluster.valkey.start()


def pause(cluster: Cluster) -> None:
    cluster.valkey.freeze()


def make_read_only(cluster: Cluster) -> None:
    cluster.redis().config_set("min-replicas-to-write", "1")


def exhaust_memory(cluster: Cluster) -> None:
    cluster.redis().config_set("maxmemory", "1")


def change_password(cluster: Cluster) -> None:
    client = cluster.redis()
    client.config_set("requirepass", "other")
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@pytest.mark.parametrize(
    "fault", [flush, kill, restart_empty, pause, make_read_only, exhaust_memory, change_password]
)
def test_redis_faults_revive_no_revoked_session_and_refuse_no_live_one(cluster, ledger, fault):
    unwritable = fault in {make_read_only, exhaust_memory}
    ledger.start()
    ledger.run(CALM)
    broke_at = time.monotonic()
    fault(cluster)
    ledger.run(UNWRITABLE_FAULT if unwritable else FAULT)
    mended_at = time.monotonic()
    heal(cluster)
    ledger.run(AFTER)
    ledger.revoke_at_least(ENOUGH)
    ledger.stop()
    time.sleep(RECOVERY_SECONDS)
    asked_last = time.monotonic()
    ledger.check_everywhere()

    whole = ledger.evaluate(bound=UNWRITABLE_BOUND if unwritable else BOUND)
    assert whole.ended >= ENOUGH, whole
    assert whole.checks > 200, whole
    assert whole.wrongly_accepted == 0, whole
    assert whole.wrongly_refused == 0, whole
    assert set(whole.statuses) == {200, 401}, whole
    assert set(whole.ends) == {204}, whole
    during = ledger.evaluate(bound=BOUND, since=broke_at, until=mended_at)
    assert during.slowest < MAX_SECONDS, during
    last = ledger.evaluate(bound=0.0, since=asked_last)
    assert last.wrongly_accepted == 0, last


def test_flush_after_many_revocations_revives_none(cluster, ledger):
    for first in range(0, len(ledger.sessions), LOGINS):
        ledger.revoke_all_but_one(ledger.sessions[first : first + LOGINS])
    ended = sum(session.ended_at is not None for session in ledger.sessions)
    assert ended == USERS * (LOGINS - 1)
    flush(cluster)
    ledger.check_everywhere()
    seen = ledger.evaluate(bound=0.0)
    assert seen.wrongly_accepted == 0
    assert seen.wrongly_refused == 0
    assert seen.statuses[401] == 3 * ended


def test_old_snapshot_revives_no_session(cluster, ledger, tmp_path):
    """Redis restarts with a snapshot from before the revocations."""
    for session in ledger.sessions:
        assert ledger.check(session, ledger.replicas[0]) == 200
    cluster.redis().save()
    dump = cluster.valkey.folder / "dump.rdb"
    shutil.copy(dump, tmp_path / "old.rdb")
    time.sleep(RECOVERY_SECONDS)
    for _ in range(20):
        ledger.revoke_one()
    cluster.valkey.kill()
    shutil.copy(tmp_path / "old.rdb", dump)
    cluster.valkey.start()
    back_at = time.monotonic()
    ledger.start()
    ledger.run(2.5)
    ledger.stop()
    dump.unlink(missing_ok=True)
    seen = ledger.evaluate(bound=FAILOVER_BOUND)
    assert seen.wrongly_accepted == 0, seen
    assert seen.wrongly_refused == 0, seen
    assert ledger.evaluate(bound=0.0, since=back_at + 2.0).wrongly_accepted == 0


def test_failover_during_a_watcher_run_is_detected(make_service, redis_url):
    """After the canary value was read, a failover brings an older copy without the revocation.

    A new canary value, written to that copy, must not hide it.
    """
    service = make_service(redis_url=redis_url)
    watcher, others = CacheWatcher(), CacheWatcher()
    for each in (watcher, others):
        each.watch(service.units)
    ann = service.actor("ann").sign_in()
    assert ann.whoami().status_code == 200
    server = redis.Redis.from_url(redis_url)
    key = build_session_cache_key(ann.tokens["account"]["id"], ann.tokens["session_id"])
    copy = {name: server.dump(name) for name in (key, CANARY_KEY)}
    service.clock.push(seconds=1)
    assert ann.logout().status_code == 204
    for each in (watcher, others):
        each.watch(service.units)
    service.clock.push(seconds=1)

    def fail_over(_connection, _cursor, statement, *_):
        if "FROM revocations" in statement and copy:
            for name, value in copy.items():
                server.restore(name, 0, value, replace=True)
            copy.clear()

    event.listen(service.units.database.autocommit_engine, "before_cursor_execute", fail_over)
    watcher.watch(service.units)
    assert not copy
    for _ in range(2):
        service.clock.push(seconds=1)
        for each in (others, watcher):
            each.watch(service.units)
    assert server.get(key) == b"R"
    assert ann.whoami().status_code == 401
    server.close()


def test_process_killed_before_publishing_is_repaired_by_others(cluster, ledger):
    """A process acknowledges logouts, cannot publish them, and is killed.

    The other processes have these sessions in their caches.
    """
    alone = LiveServer(
        cluster.folder / f"alone-{find_free_port()}.log",
        env={**cluster.env, "DOORWARD_REDIS_URL": f"redis://127.0.0.1:{find_free_port()}/0"},
    )
    try:
        ledger.replicas = cluster.replicas
        leaving = ledger.sessions[1:40:2]
        for session in leaving:
            assert ledger.check(session, cluster.replicas[0]) == 200
        records = len(list(cluster.redis().scan_iter("dw1:*:s:*")))
        assert records >= len(leaving)
        ledger.start()
        for _ in leaving:
            ledger.revoke_one(alone)
    finally:
        alone.kill()
    killed_at = time.monotonic()
    assert ledger.evaluate(bound=0.0).ends == {204: len(leaving)}
    ledger.run(BOUND + RECOVERY_SECONDS)
    ledger.stop()
    ledger.check_everywhere()
    seen = ledger.evaluate(bound=BOUND)
    assert seen.wrongly_accepted == 0, seen
    assert seen.latest_wrong_acceptance > 0, (
        "no revoked session was accepted before the repair, so the test shows nothing"
    )
    assert seen.wrongly_refused == 0, seen
    assert ledger.evaluate(bound=0.0, since=killed_at + BOUND).wrongly_accepted == 0


class Broken(LiveServer):
    """A check that accepts every token with a valid signature."""

    def start_process(self, log):
        command = [sys.executable, "-m", "tests.faults.broken_service", *self.words]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.env,
            stdout=log,
            stderr=log,
            preexec_fn=terminate_with_parent,
            start_new_session=True,
        )


def test_ledger_detects_a_broken_check(cluster, ledger):
    """Check that the ledger itself can fail."""
    broken = Broken(cluster.folder / f"broken-{find_free_port()}.log", env=cluster.env)
    try:
        ledger.replicas = [*cluster.replicas[:2], broken]
        for _ in range(5):
            ledger.revoke_one()
        ledger.check_everywhere()
    finally:
        broken.kill()
    assert ledger.evaluate(bound=0.0).wrongly_accepted > 0
