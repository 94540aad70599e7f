"""What Redis may do, and what never follows from it: nobody revoked is let in, nobody valid is refused, nobody waits."""

from __future__ import annotations

import os
import shutil
import time

import pytest
import redis

from tests.conftest import LIMITS, empty
from tests.faults.ledger import Ledger
from tests.live import GENEROUS, Live
from tests.postgres import free_port
from tests.valkey import Valkey

LONG = os.environ.get("FAULTS") == "long"
ACCOUNTS, LOGINS = (21, 49) if LONG else (4, 40)
CALM, FAULT, AFTER = (5.0, 10.0, 8.0) if LONG else (0.8, 2.5, 2.0)
# The longest a revoked session was still let in, as promised: a publish that was lost is repeated by the watcher each 0.8 s.
BOUND = 1.5
# One that can be read and not written is believed for two seconds more.
UNWRITABLE_BOUND = 3.0
FAILOVER_BOUND = 5.0
SLOWEST = 0.5


@pytest.fixture(scope="module")
def town(postgres_url, tmp_path_factory):
    """Three replicas on one PostgreSQL and one Valkey, and a ledger with many sessions."""
    empty(postgres_url)
    valkey = Valkey("--save", "", "--appendonly", "no")
    env = {
        "DOORWARD_DATABASE_URL": postgres_url,
        "DOORWARD_REDIS_URL": valkey.url,
        "DOORWARD_ARGON2_MEMORY_KIB": "64",
        "DOORWARD_ARGON2_TIME_COST": "1",
        "DOORWARD_REPLICAS": "3",
        "DOORWARD_PUBLIC_URL": "http://127.0.0.1:8080",
        **{f"DOORWARD_LIMIT_{name}": GENEROUS for name in LIMITS},
    }
    folder = tmp_path_factory.mktemp("town")
    made = [Live(folder / f"replica-{number}.log", env=env) for number in range(3)]
    yield made, valkey
    for live in made:
        live.stop()
    valkey.stop()


@pytest.fixture
def ledger(town):
    replicas, valkey = town
    ledger = Ledger(replicas)
    for number in range(ACCOUNTS):
        name = f"u{time.monotonic_ns()}x{number}"[:32]
        ledger.sign_up(name)
        ledger.log_in(name, LOGINS)
    yield ledger
    ledger.stop()
    _heal(valkey)


def _heal(valkey: Valkey) -> None:
    valkey.thaw()
    if valkey.process.poll() is not None:
        valkey.start()
    client = redis.Redis.from_url(valkey.url)
    for name, value in (("maxmemory", "0"), ("min-replicas-to-write", "0"), ("requirepass", "")):
        try:
            client.config_set(name, value)
        except redis.AuthenticationError:
            client = redis.Redis.from_url(valkey.url, password="other")
            client.config_set(name, value)
    client.close()


def _client(valkey: Valkey) -> redis.Redis:
    return redis.Redis.from_url(valkey.url)


def flushed(valkey: Valkey) -> None:
    _client(valkey).flushall()


def killed(valkey: Valkey) -> None:
    valkey.kill()


def restarted_empty(valkey: Valkey) -> None:
    valkey.kill()
    valkey.start()


def paused(valkey: Valkey) -> None:
    valkey.freeze()


def read_only(valkey: Valkey) -> None:
    _client(valkey).config_set("min-replicas-to-write", "1")


def out_of_memory(valkey: Valkey) -> None:
    _client(valkey).config_set("maxmemory", "1")


def wrong_password(valkey: Valkey) -> None:
    client = _client(valkey)
    client.config_set("requirepass", "other")
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


@pytest.mark.parametrize("fault", [flushed, killed, restarted_empty, paused, read_only, out_of_memory, wrong_password])
def test_whatever_happens_to_redis_nobody_revoked_is_let_in_and_nobody_valid_refused(town, ledger, fault):
    _, valkey = town
    ledger.start()
    ledger.run(CALM)
    broke_at = time.monotonic()
    fault(valkey)
    ledger.run(FAULT)
    mended_at = time.monotonic()
    _heal(valkey)
    ledger.run(AFTER)
    ledger.stop()
    time.sleep(1.0)
    asked_last = time.monotonic()
    ledger.ask_everywhere()

    whole = ledger.judge(bound=UNWRITABLE_BOUND if fault in {read_only, out_of_memory} else BOUND)
    assert whole.ended > 20, whole
    assert whole.asked > 200, whole
    assert whole.let_in == 0, whole
    assert whole.wrongly_refused == 0, whole
    assert set(whole.statuses) <= {200, 401}, whole
    during = ledger.judge(bound=BOUND, since=broke_at, until=mended_at)
    assert during.slowest < SLOWEST, during
    last = ledger.judge(bound=0.0, since=asked_last)
    assert last.let_in == 0, last


def test_a_flush_after_many_revocations_revives_none(town, ledger):
    _, valkey = town
    for first in range(0, len(ledger.sessions), LOGINS):
        ledger.end_all_but_one(ledger.sessions[first : first + LOGINS])
    ended = sum(session.ended_at is not None for session in ledger.sessions)
    assert ended == ACCOUNTS * (LOGINS - 1)
    flushed(valkey)
    ledger.ask_everywhere()
    seen = ledger.judge(bound=0.0)
    assert seen.let_in == 0
    assert seen.wrongly_refused == 0
    assert seen.statuses[401] == 3 * ended


def test_an_old_snapshot_revives_nobody(town, ledger, tmp_path):
    """Redis comes back with the memory of a moment before the revocations."""
    _, valkey = town
    for session in ledger.sessions:
        assert ledger.ask(session, ledger.replicas[0]) == 200
    client = _client(valkey)
    client.save()
    shutil.copy(valkey.folder / "dump.rdb", tmp_path / "old.rdb")
    time.sleep(1.0)
    for _ in range(20):
        ledger.end_one()
    valkey.kill()
    shutil.copy(tmp_path / "old.rdb", valkey.folder / "dump.rdb")
    valkey.start()
    back_at = time.monotonic()
    ledger.start()
    ledger.run(3.0)
    ledger.stop()
    (valkey.folder / "dump.rdb").unlink(missing_ok=True)
    seen = ledger.judge(bound=FAILOVER_BOUND)
    assert seen.let_in == 0, seen
    assert seen.wrongly_refused == 0, seen
    assert ledger.judge(bound=0.0, since=back_at + 2.0).let_in == 0


def test_a_process_killed_between_commit_and_publish_is_repaired_by_the_others(town, ledger):
    """The row is there and the mark is not: put back what Redis said before, as if the process had died in between."""
    _, valkey = town
    client = _client(valkey)
    for session in ledger.sessions[:40]:
        ledger.ask(session, ledger.replicas[1])
    before = {key: client.get(key) for key in client.scan_iter("dw1:*:s:*")}
    for _ in range(10):
        ledger.end_one()
    for key, value in before.items():
        client.set(key, value, px=60_000)
    time.sleep(BOUND)
    asked_at = time.monotonic()
    ledger.ask_everywhere()
    seen = ledger.judge(bound=0.0, since=asked_at)
    assert seen.ended == 10
    assert seen.let_in == 0, seen
    assert seen.wrongly_refused == 0, seen


def test_the_ledger_notices_a_check_that_is_broken(town, ledger, tmp_path):
    """A ledger that cannot fail is no ledger."""
    replicas, _ = town
    broken = Live.__new__(Live)
    broken.port = free_port()
    broken.url = f"http://127.0.0.1:{broken.port}"
    broken.log = tmp_path / "broken.log"
    broken.env = {**replicas[0].env}
    broken.command = [replicas[0].command[0], "-m", "tests.faults.broken_service", "serve", "--bind", f"127.0.0.1:{broken.port}"]
    broken.start()
    try:
        ledger.replicas = [*replicas[:2], broken]
        for _ in range(5):
            ledger.end_one()
        time.sleep(BOUND)
        ledger.ask_everywhere()
    finally:
        broken.stop()
    assert ledger.judge(bound=BOUND).let_in > 0
