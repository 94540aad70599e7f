"""PostgreSQL failures never lose an acknowledged revocation or reject a valid session."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from app.adapters import migrations
from tests.faults.cluster import LONG, Cluster
from tests.postgres import Postgres

CALM, AFTER = (3.0, 6.0) if LONG else (0.7, 1.5)
LOGINS = 40
BOUND = 1.5  # seconds that an ended session may still be accepted
CACHE_TRUST_SECONDS = 5.0  # seconds of an outage during which the cache may answer checks
RECOVERY_SECONDS = 1.0  # one run of every watcher
ENOUGH = 11  # sessions that were ended
MAX_SECONDS = 3.9  # the deadline is 2.5 seconds, and the longest freeze four
RECOVERS_WITHIN = 20.0


@dataclass(frozen=True)
class Fault:
    name: str
    begin: Callable[[Postgres], None]
    end: Callable[[Postgres], None]
    seconds: float


FAULTS = [
    Fault("stopped", Postgres.halt, Postgres.start, 2.5),
    Fault(
        "killed", Postgres.kill, Postgres.start, CACHE_TRUST_SECONDS + 1.5
    ),  # long enough that the cache is no longer trusted
    Fault("frozen", Postgres.freeze, Postgres.thaw, 4.0),
]


@pytest.fixture(scope="module")
def postgres():
    """Start a separate server with durable commits."""
    server = Postgres(durable=True)
    migrations.upgrade(server.url())
    yield server
    server.stop()


@pytest.fixture(scope="module")
def cluster(postgres, tmp_path_factory):
    cluster = Cluster(postgres.url(), tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.close()


@pytest.fixture
def ledger(cluster, postgres):
    ledger = cluster.create_ledger(LOGINS)
    yield ledger
    ledger.stop()
    heal(postgres)


def heal(postgres: Postgres) -> None:
    """Repair what a failed test left behind."""
    if postgres.process.poll() is None:
        postgres.thaw()
    else:
        postgres.start()


def await_recovery(cluster: Cluster) -> None:
    """Wait until every replica queries the database again."""
    end = time.monotonic() + RECOVERS_WITHIN
    while [replica.call("GET", "/readyz")[0] for replica in cluster.replicas] != [200] * len(
        cluster.replicas
    ):
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_postgresql_faults_lose_no_acknowledged_write(cluster, postgres, ledger, fault):
    for session in ledger.sessions:
        ledger.check(session, cluster.replicas[0])  # fills the cache
    ledger.start()
    ledger.run(CALM)
    broke_at = time.monotonic()
    fault.begin(postgres)
    gone_at = time.monotonic()
    ledger.run(fault.seconds)
    mended_at = time.monotonic()
    fault.end(postgres)
    ledger.run(AFTER)
    await_recovery(cluster)
    ledger.revoke_at_least(ENOUGH)
    ledger.stop()
    time.sleep(RECOVERY_SECONDS)
    asked_last = time.monotonic()
    ledger.check_everywhere()

    whole = ledger.evaluate(bound=BOUND)
    assert whole.wrongly_accepted == 0, whole
    assert whole.wrongly_refused == 0, whole
    assert whole.ended >= ENOUGH, whole
    assert whole.checks > 200, whole
    assert set(whole.statuses) == {200, 401, 503}, whole
    assert {204, 503} <= set(whole.ends) <= {204, 401, 503}, whole
    assert whole.ends.get(401, 0) <= 2, whole  # ended by a commit whose response was lost
    assert whole.slowest < MAX_SECONDS, whole
    acknowledged = [
        answer
        for answer in [*ledger.answers, *ledger.ends]
        if gone_at < answer.sent_at and answer.sent_at + answer.seconds < mended_at
    ]
    assert [answer for answer in acknowledged if answer.status == 200], (
        "the status cache answered no check"
    )
    assert [answer for answer in acknowledged if answer.status == 204] == []
    assert [
        answer
        for answer in acknowledged
        if answer.status == 200 and answer.sent_at > broke_at + CACHE_TRUST_SECONDS
    ] == []
    last = ledger.evaluate(bound=0.0, since=asked_last)
    assert last.wrongly_accepted == 0, last
    assert set(last.statuses) == {200, 401}, last
    assert last.statuses[200] == len(cluster.replicas) * sum(
        session.ended_at is None and not session.unknown for session in ledger.sessions
    )
