"""The hash queue: few hashes run, few wait, and no waiting request holds what others need."""

from __future__ import annotations

import os
import resource
import signal
import statistics
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from app.adapters.hash_slots import HashSlots
from app.adapters.password_hasher import NICE, Capacity
from tests.actors import PASSWORD

# About a second per hash, so that the third in the queue waits until its timeout.
DEAR = {"argon2_memory_kib": 65536, "argon2_time_cost": 16}
LESS_DEAR = {"argon2_memory_kib": 65536, "argon2_time_cost": 6}
WAITING = 20
THREADS = 48
ONE_AT_A_TIME = 1
CORRUPT = {
    "empty": "",
    "no hash": "not a hash at all",
    "cut off": "$argon2id$v=19$m=64,t=1,p=1$KgM6oJ1VoKtmPke1hAfcHA",
    "no number": "$argon2id$v=19$m=abc,t=1,p=1$KgM6oJ1VoKtmPke1hAfcHA$FwEq/cBjxitqf8VeKQ0SSniAzCeZ+gY+Es4ZQE9cSVU",
    "no lanes": "$argon2id$v=19$m=64,t=1,p=0$KgM6oJ1VoKtmPke1hAfcHA$FwEq/cBjxitqf8VeKQ0SSniAzCeZ+gY+Es4ZQE9cSVU",
    "beyond ASCII": "$argon2id$v=19$m=64,t=1,p=1$KgM6oJ1VoKtmPke1hAfcHA$FwEq/cBjxitqf8VeKQ0SSniAzCeZ+gY+Es4ZQE9cSVé",
    "another digit": "$argon2id$v=19$m=٦٤,t=1,p=1$KgM6oJ1VoKtmPke1hAfcHA$FwEq/cBjxitqf8VeKQ0SSniAzCeZ+gY+Es4ZQE9cSVU",
    "of another kind": "$2b$12$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234",
    "four gibibytes": "$argon2id$v=19$m=4194304,t=1,p=1$KgM6oJ1VoKtmPke1hAfcHA$FwEq/cBjxitqf8VeKQ0SSniAzCeZ+gY+Es4ZQE9cSVU",
    "one gibibyte": "$argon2id$v=19$m=1048576,t=4,p=4$KgM6oJ1VoKtmPke1hAfcHA$FwEq/cBjxitqf8VeKQ0SSniAzCeZ+gY+Es4ZQE9cSVU",
    "a million passes": "$argon2id$v=19$m=64,t=1000000,p=1$KgM6oJ1VoKtmPke1hAfcHA$FwEq/cBjxitqf8VeKQ0SSniAzCeZ+gY+Es4ZQE9cSVU",
    "a thousand lanes": "$argon2id$v=19$m=8000,t=1,p=1000$KgM6oJ1VoKtmPke1hAfcHA$FwEq/cBjxitqf8VeKQ0SSniAzCeZ+gY+Es4ZQE9cSVU",
}


class Crowd:
    """Simultaneous logins with unknown names; each verifies the decoy hash."""

    def __init__(self, service, number: int) -> None:
        self.answers: list = []
        self._gate = threading.Barrier(number + 1)
        self._threads = [
            threading.Thread(target=self._log_in, args=(service.actor(f"nobody{index}"),))
            for index in range(number)
        ]
        for thread in self._threads:
            thread.start()
        self._gate.wait()

    def _log_in(self, actor) -> None:
        self._gate.wait()
        began = time.monotonic()
        answer = actor.login()
        self.answers.append((answer, time.monotonic() - began))

    @property
    def has_no_answers(self) -> bool:
        return not self.answers

    def wait_until_queued(self, service) -> bool:
        """Wait until all are in the queue or refused. Until then they look up names."""
        for _ in range(300):
            if service.units.hasher._pending + len(self.answers) == len(self._threads):
                return True
            time.sleep(0.01)
        return False

    def join(self) -> list:
        for thread in self._threads:
            thread.join(180)  # hashing threads run at lower priority
        return self.answers


def write(service) -> float:
    """Return the seconds of a transaction that writes."""
    began = time.perf_counter()
    with service.open_database() as db:
        db.execute(text("UPDATE issuer_state SET global_epoch = global_epoch"))
    return time.perf_counter() - began


def test_waiting_logins_hold_no_connection_and_others_can_write(make_service, database_url):
    service = make_service(database_url, capacity=Capacity(workers=1, threads=48), **DEAR)
    service.actor("first").get("/.well-known/jwks.json")  # creates the signing keys
    pools = (service.units.database.engine.pool, service.units.database.autocommit_engine.pool)
    for _ in range(
        6
    ):  # on a busy machine some may time out before the last arrive, and the test shows nothing
        crowd = Crowd(service, WAITING)
        all_came = crowd.wait_until_queued(service)
        connections = [
            sum(pool.checkedout() for pool in pools) for _ in range(20) if time.sleep(0.002) is None
        ]
        took = [write(service) for _ in range(7)]
        assert (
            service.actor("other")
            .post("/v1/register/resend", {"email": "other@example.org"})
            .status_code
            == 202
        )
        if all_came and crowd.has_no_answers:
            break
        crowd.join()
    assert all_came
    assert crowd.has_no_answers, "no login was waiting, so the test shows nothing"
    assert max(connections) == 0
    assert statistics.median(took) < 0.3, (
        took
    )  # a request that had to wait for one of them would take a second
    answers = crowd.join()
    assert len(answers) == WAITING
    assert {answer.status_code for answer, _ in answers} <= {401, 503}
    assert all(seconds < 15 for answer, seconds in answers if answer.status_code == 503), answers


def build_capacity() -> Capacity:
    """Return the capacity of a process that hashes one password at a time."""
    return Capacity(workers=1, threads=THREADS, hash_slots=HashSlots(ONE_AT_A_TIME))


def test_login_that_would_wait_longer_than_two_seconds_is_refused_at_once(make_service):
    service = make_service(capacity=build_capacity(), **LESS_DEAR)
    service.actor("first").login()  # measures one hash
    answers = Crowd(service, WAITING).join()
    refused = [(answer, seconds) for answer, seconds in answers if answer.status_code == 503]
    assert refused
    assert len(refused) < WAITING
    fastest = min(seconds for answer, seconds in answers if answer.status_code == 401)
    assert min(seconds for _, seconds in refused) < fastest, "refused logins are answered first"
    for answer, _ in refused:
        assert answer.content_type == "application/problem+json"
        assert (answer.json["code"], answer.headers["Retry-After"]) == ("busy", "1")


def test_full_hash_queue_refuses_registrations_and_keeps_pending_ones(make_service):
    service = make_service(capacity=build_capacity(), **LESS_DEAR)
    service.actor("first").login()
    crowd = Crowd(service, WAITING)
    assert crowd.wait_until_queued(service)
    ann = service.actor("ann")
    assert ann.register().status_code == 503
    assert service.scalar("SELECT count(*) FROM pending_registrations") == 0
    assert ann.get("/livez").status_code == 200
    crowd.join()
    assert ann.register().status_code == 202


def test_hash_queue_recovers_after_every_kind_of_failure(make_service):
    service = make_service(capacity=Capacity(workers=1, threads=2))
    ann = service.actor("ann").sign_up()
    with service.open_database() as db:
        db.execute(
            text("UPDATE accounts SET password_hash = :hash"), {"hash": CORRUPT["beyond ASCII"]}
        )
    for _ in range(5):
        assert ann.from_another_address().login().status_code == 401
        assert ann.from_another_address().login(password="x").status_code == 401
        assert service.actor("nobody-here").login().status_code == 401
    assert service.actor("bob").sign_in().whoami().status_code == 200


@pytest.mark.parametrize("stored", CORRUPT.values(), ids=CORRUPT)
def test_broken_or_extreme_stored_hash_never_matches_and_costs_little(sqlite_service, stored):
    ann = sqlite_service.actor("ann").sign_up()
    with sqlite_service.open_database() as db:
        db.execute(text("UPDATE accounts SET password_hash = :hash"), {"hash": stored})
    memory, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    answer = ann.login()
    assert time.process_time() - began < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000
    assert answer.status_code == 401
    assert answer.json["code"] == "invalid_credentials"
    assert sqlite_service.scalar("SELECT password_hash FROM accounts") == stored


def test_more_expensive_stored_hash_still_matches_and_is_renewed(make_service):
    dear = make_service(argon2_memory_kib=65536, argon2_time_cost=3)
    ann = dear.actor("ann").sign_up()
    cheap = make_service(dear.settings.database_url)
    ann.service = cheap
    assert ann.login().status_code == 200
    assert "m=64,t=1" in cheap.scalar("SELECT password_hash FROM accounts")
    assert ann.login().status_code == 200


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux knows the priority of a thread")
def test_hashing_threads_run_at_lower_priority(sqlite_service):
    sqlite_service.actor("ann").sign_up()
    hashing = [thread for thread in threading.enumerate() if thread.name.startswith("argon2")]
    assert hashing
    assert {os.getpriority(os.PRIO_PROCESS, thread.native_id) for thread in hashing} == {NICE}
    assert os.getpriority(os.PRIO_PROCESS, threading.main_thread().native_id) < NICE


def test_processes_share_the_slots_and_a_killed_one_leaves_them_free():
    slots = HashSlots(ONE_AT_A_TIME)
    child = os.fork()
    if child == 0:
        with slots.hold():
            time.sleep(60)
        os._exit(0)
    try:
        waited = threading.Event()

        def wait() -> None:
            with slots.hold():
                waited.set()

        time.sleep(0.3)  # the child holds the slot by now
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not waited.wait(0.5)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert waited.wait(10)
    waiting.join()


def test_processes_that_hold_and_wait_for_two_slots_do_not_fail():
    """Each process holds one slot and waits for the other, which the system reports as a deadlock."""
    slots = HashSlots(2)
    children = []
    for _ in range(2):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with ThreadPoolExecutor(4) as threads:
                    for future in [threads.submit(hold_often, slots) for _ in range(4)]:
                        future.result()
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]


def hold_often(slots: HashSlots) -> None:
    for _ in range(300):
        with slots.hold():
            time.sleep(0.0002)


def test_concurrent_hashes_never_exceed_the_cores(make_service):
    service = make_service(capacity=Capacity(workers=1, threads=48), argon2_memory_kib=1024)
    with ThreadPoolExecutor(WAITING) as pool:
        answers = Counter(
            pool.map(
                lambda number: (
                    service.actor(f"name{number}", password=PASSWORD).login().status_code
                ),
                range(WAITING),
            )
        )
    assert answers[401] > 0
    assert set(answers) <= {401, 503}, "on a busy machine some wait longer than the timeout"
    mine = [
        thread
        for thread in threading.enumerate()
        if thread in service.units.hasher._threads._threads
    ]
    assert 1 <= len(mine) <= Capacity().max_hashes
