"""Argon2id behind a gate: a bounded number of hashes at once, on threads that give way to everything else.

Hashes of other systems pass the same gate, see imported_hashes.py.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import argon2
from argon2.exceptions import InvalidHashError, VerificationError

from app.adapters import imported_hashes
from app.adapters.imported_hashes import PasswordTooLongForHash, UnusablePasswordHash
from app.errors import Busy

T = TypeVar("T")

NICE = 10
MAX_WAIT_SECONDS = 1.0  # seconds in the queue
HASH_MIB = 20
OTHER_MIB = 150
SALT_BYTES = 16
TAG_BYTES = 32
# A stored hash carries its own cost, and verify obeys it: an imported or broken row must not ask for 4 GiB.
# What others are known to use fits in, and whatever is set here.
MAX_MEMORY_KIB = 131072
MAX_PASSES = 10
MAX_LANES = 16
MIN_KIB_PER_LANE = 8
ARGON2_PATTERN = re.compile(
    r"\$argon2(?:id|i|d)(?:\$v=(?:16|19))?\$m=[0-9]{1,9},t=[0-9]{1,9},p=[0-9]{1,9}\$[A-Za-z0-9+/]{11,128}\$[A-Za-z0-9+/]{22,128}"
)


@dataclass(frozen=True, slots=True)
class Capacity:
    """How this process is served: the number of worker processes beside it, itself included, and its own threads."""

    workers: int = 1
    threads: int = 8

    @property
    def max_hashes(self) -> int:
        """Hashes at once in this process. More than one a core at a time was measured to lose a third of the rate."""
        affordable = (_get_memory_limit_mib() - OTHER_MIB) // HASH_MIB
        return max(1, min(_count_cores(), affordable) // self.workers)

    @property
    def max_admitted(self) -> int:
        """Callers that may be inside or waiting; the other threads stay free for everything that does not hash."""
        return max(1, self.threads // 2)


class PasswordHasher:
    """Hashes and verifies on the gate's threads. Raises Busy when the gate is full; hold no transaction while calling."""

    def __init__(self, *, memory_kib: int, passes: int, capacity: Capacity) -> None:
        self._argon2 = argon2.PasswordHasher(
            time_cost=passes,
            memory_cost=memory_kib,
            parallelism=1,
            hash_len=TAG_BYTES,
            salt_len=SALT_BYTES,
            type=argon2.Type.ID,
        )
        self._max_cost = (max(memory_kib, MAX_MEMORY_KIB), max(passes, MAX_PASSES), MAX_LANES)
        self._admission = threading.BoundedSemaphore(capacity.max_admitted)
        self._slots = threading.BoundedSemaphore(capacity.max_hashes)
        self._threads = ThreadPoolExecutor(
            capacity.max_hashes, thread_name_prefix="argon2", initializer=_lower_thread_priority
        )
        # Verified instead of the hash of an account that does not exist, so that both cost the same.
        self.decoy_hash = self._argon2.hash(secrets.token_urlsafe())

    def hash(self, password: str) -> str:
        """A PHC string (RFC 9106) with a fresh salt."""
        return self._run_gated(lambda: self._argon2.hash(password))

    def verify(self, password_hash: str, password: str) -> bool:
        """Does the password fit? A hash that cannot be read, or asks for an absurd cost, fits nothing."""
        try:
            fits = self._build_check(password_hash)
        except UnusablePasswordHash:
            fits = self._reject_at_full_cost
        return self._run_gated(lambda: fits(password.encode()))

    def is_outdated(self, password_hash: str) -> bool:
        """Was it made with other parameters than those of now, or in another way?"""
        try:
            return self._argon2.check_needs_rehash(password_hash)
        except InvalidHashError:
            return True

    def import_hash(self, password_hash: str) -> str:
        """A hash that another system made, as it is kept here. Raises NotAHash for one that would never fit."""
        plain = imported_hashes.strip_django_prefix(password_hash)
        self._build_check(plain)
        return plain

    def _build_check(self, password_hash: str) -> imported_hashes.PasswordCheck:
        if not password_hash.startswith("$argon2"):
            return partial(self._verify_imported, imported_hashes.parse_hash(password_hash))
        if not ARGON2_PATTERN.fullmatch(password_hash):
            raise UnusablePasswordHash("is damaged, or of a kind that cannot be checked")
        cost = argon2.extract_parameters(password_hash)
        asked = (cost.memory_cost, cost.time_cost, cost.parallelism)
        if any(much > most for much, most in zip(asked, self._max_cost, strict=True)):
            kib, passes, lanes = self._max_cost
            raise UnusablePasswordHash(
                f"costs too much to check: Argon2 of more than {kib} KiB, {passes} passes or {lanes} lanes"
            )
        if min(asked) < 1 or cost.memory_cost < MIN_KIB_PER_LANE * cost.parallelism:
            raise UnusablePasswordHash("is damaged: its numbers do not go together")
        return partial(self._verify_argon2, password_hash)

    def _verify_argon2(self, password_hash: str, password: bytes) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    def _verify_imported(self, check: imported_hashes.PasswordCheck, password: bytes) -> bool:
        try:
            return check(password)
        except PasswordTooLongForHash:
            return self._reject_at_full_cost(password)

    def _reject_at_full_cost(self, password: bytes) -> bool:
        """The cost of a check and the answer of a wrong password."""
        self._verify_argon2(self.decoy_hash, password)
        return False

    def _run_gated(self, work: Callable[[], T]) -> T:
        if not self._admission.acquire(blocking=False):
            raise Busy
        try:
            if not self._slots.acquire(timeout=MAX_WAIT_SECONDS):
                raise Busy
            try:
                return self._threads.submit(work).result()
            finally:
                self._slots.release()
        finally:
            self._admission.release()


def _lower_thread_priority() -> None:
    with suppress(
        OSError, AttributeError
    ):  # Linux alone can renice one thread; elsewhere the gate still bounds them.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def _count_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _get_memory_limit_mib() -> int:
    """What the container may use (cgroup v2), else what the machine has."""
    with suppress(OSError, ValueError):
        return int(Path("/sys/fs/cgroup/memory.max").read_text()) >> 20
    with suppress(OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return OTHER_MIB + HASH_MIB
