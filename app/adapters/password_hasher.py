"""Argon2id behind a gate: a bounded number of hashes at once, on threads that give way to everything else."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from app.errors import Busy

T = TypeVar("T")

NICE = 10
LONGEST_WAIT = 1.0  # seconds in the queue
HASH_MIB = 20
OTHER_MIB = 150
SALT_BYTES = 16
TAG_BYTES = 32
# A stored hash carries its own cost, and verify obeys it: an imported or broken row must not ask for 4 GiB.
# What others are known to use fits in, and whatever is set here.
MOST_MEMORY_KIB = 131072
MOST_PASSES = 10
MOST_LANES = 16


@dataclass(frozen=True, slots=True)
class Capacity:
    """How this process is served: the number of worker processes beside it, itself included, and its own threads."""

    workers: int = 1
    threads: int = 8

    @property
    def hashes(self) -> int:
        """Hashes at once in this process. More than one a core at a time was measured to lose a third of the rate."""
        affordable = (_memory_limit_mib() - OTHER_MIB) // HASH_MIB
        return max(1, min(_cores(), affordable) // self.workers)

    @property
    def admitted(self) -> int:
        """Callers that may be inside or waiting; the other threads stay free for everything that does not hash."""
        return max(1, self.threads // 2)


class PasswordHasher:
    """Hashes and verifies on the gate's threads. Raises Busy when the gate is full; hold no transaction while calling."""

    def __init__(self, *, memory_kib: int, passes: int, capacity: Capacity) -> None:
        self._argon2 = argon2.PasswordHasher(
            time_cost=passes, memory_cost=memory_kib, parallelism=1, hash_len=TAG_BYTES, salt_len=SALT_BYTES, type=argon2.Type.ID
        )
        self._most = (max(memory_kib, MOST_MEMORY_KIB), max(passes, MOST_PASSES), MOST_LANES)
        self._admission = threading.BoundedSemaphore(capacity.admitted)
        self._slots = threading.BoundedSemaphore(capacity.hashes)
        self._threads = ThreadPoolExecutor(capacity.hashes, thread_name_prefix="argon2", initializer=_give_way)
        # Verified instead of the hash of an account that does not exist, so that both cost the same.
        self.decoy = self._argon2.hash(secrets.token_urlsafe())

    def hash(self, password: str) -> str:
        """A PHC string (RFC 9106) with a fresh salt."""
        return self._gated(lambda: self._argon2.hash(password))

    def verify(self, password_hash: str, password: str) -> bool:
        """Does the password fit? A hash that cannot be read, or asks for an absurd cost, fits nothing."""
        if not self._affordable(password_hash):
            password_hash, password = self.decoy, secrets.token_urlsafe()
        return self._gated(lambda: self._verify(password_hash, password))

    def outdated(self, password_hash: str) -> bool:
        """Was it made with other parameters than those of now?"""
        return self._argon2.check_needs_rehash(password_hash)

    def _verify(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    def _affordable(self, password_hash: str) -> bool:
        if not password_hash.isascii():  # a text that argon2 cannot even look at
            return False
        try:
            cost = argon2.extract_parameters(password_hash)
        except InvalidHashError:
            return False
        return all(asked <= most for asked, most in zip((cost.memory_cost, cost.time_cost, cost.parallelism), self._most, strict=True))

    def _gated(self, work: Callable[[], T]) -> T:
        if not self._admission.acquire(blocking=False):
            raise Busy
        try:
            if not self._slots.acquire(timeout=LONGEST_WAIT):
                raise Busy
            try:
                return self._threads.submit(work).result()
            finally:
                self._slots.release()
        finally:
            self._admission.release()


def _give_way() -> None:
    with suppress(OSError, AttributeError):  # Linux alone can renice one thread; elsewhere the gate still bounds them.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_limit_mib() -> int:
    """What the container may use (cgroup v2), else what the machine has."""
    with suppress(OSError, ValueError):
        return int(Path("/sys/fs/cgroup/memory.max").read_text()) >> 20
    with suppress(OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return OTHER_MIB + HASH_MIB
