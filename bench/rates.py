"""Rates of logins and checks, each measured in turn with the rate that bounds it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

from argon2 import PasswordHasher

from bench.load import Load, put_on, request
from bench.servers import MEMORY_KIB, PASSES, PASSWORD, Client, make_accounts
from tests.live import LiveServer

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
LOGGING_IN = 4  # concurrent logins: what the hash queue admits with the default eight threads
CHECKING = 8  # concurrent checks: one per thread
WARM = 0.3  # seconds of warm-up, at most the measured time
SESSIONS_EACH = 40  # per account; from fifty on every login revokes an older session


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two rates per second, measured in alternation, and the median of their ratios."""

    ours: float
    bound: float
    ratio: float
    refused: Counter[int]


def logins(live: LiveServer, *, rounds: int, seconds: float) -> Ratio:
    """Compare logins with raw Argon2id verifications of the same cost, one thread per core."""
    expected = int(rounds * seconds * 40 * CORES)
    names = [f"login{number}" for number in range(1 + expected // SESSIONS_EACH)]
    make_accounts(live, names)
    asked = [
        request("POST", "/v1/login", json.dumps({"username": name, "password": PASSWORD}).encode())
        for name in names
    ]
    _warm(live.port, asked, seconds)
    return _in_turn(
        rounds,
        lambda: put_on(live.port, asked, connections=LOGGING_IN, seconds=seconds),
        lambda: verifications(seconds),
    )


def checks(live: LiveServer, bare: int, *, rounds: int, seconds: float) -> Ratio:
    """Compare GET /v1/whoami with an empty Flask route on the same kind of server."""
    return _checks(live, "/v1/whoami", bare, "/", rounds=rounds, seconds=seconds)


def warm_checks(live: LiveServer, bare: int, *, rounds: int, seconds: float) -> Ratio:
    """The same with Redis, compared with a Flask route that does one GET of Redis."""
    return _checks(live, "/v1/whoami", bare, "/redis", rounds=rounds, seconds=seconds)


def questions(live: LiveServer, bare: int, *, policy: str, rounds: int, seconds: float) -> Ratio:
    """The checks of a gateway with a policy, compared with the same route."""
    return _checks(
        live, f"/authz/auth-request/{policy}", bare, "/redis", rounds=rounds, seconds=seconds
    )


def _checks(
    live: LiveServer, path: str, bare: int, bare_path: str, *, rounds: int, seconds: float
) -> Ratio:
    name = f"check{path.replace('/', '.')}"[:32]
    make_accounts(live, [name])
    client = Client(live.port)
    token = client.post("/v1/login", {"username": name, "password": PASSWORD}).body["access_token"]
    client.close()
    asked, least = (
        [request("GET", path, Authorization=f"Bearer {token}")],
        [request("GET", bare_path)],
    )
    _warm(live.port, asked, seconds)
    _warm(bare, least, seconds)
    return _in_turn(
        rounds,
        lambda: put_on(live.port, asked, connections=CHECKING, seconds=seconds),
        lambda: put_on(bare, least, connections=CHECKING, seconds=seconds),
    )


def verifications(seconds: float) -> Load:
    """Run raw Argon2id verifications, one thread per core."""
    hasher = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1)
    stored, load, lock = hasher.hash(PASSWORD), Load(), threading.Lock()
    began = time.perf_counter()

    def verify() -> None:
        done = 0
        while time.perf_counter() < began + seconds:
            hasher.verify(stored, PASSWORD)
            done += 1
        with lock:
            load.statuses[200] += done

    threads = [threading.Thread(target=verify) for _ in range(CORES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    load.seconds = time.perf_counter() - began
    return load


def _warm(port: int, asked: list[bytes], seconds: float) -> None:
    put_on(port, asked, connections=LOGGING_IN, seconds=min(WARM, seconds))


def _in_turn(rounds: int, ours: Callable[[], Load], bound: Callable[[], Load]) -> Ratio:
    """Measure in alternation, so that other load affects both."""
    total, limit, ratios = Load(), Load(), []
    for _ in range(rounds):
        one, other = ours(), bound()
        total.add(one)
        limit.add(other)
        ratios.append(one.rate() / other.rate())
    refused = Counter({status: count for status, count in total.statuses.items() if status != 200})
    return Ratio(total.rate(), limit.rate(), median(ratios), refused)
