"""Argon2id password hashing with limited concurrency, on threads of low priority.

Imported hashes (imported_hashes.py) are checked under the same limit. A hash that would wait too
long is refused at once.
"""

from __future__ import annotations

import math
import os
import re
import secrets
import threading
import time
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
from app.adapters.hash_slots import HashSlots
from app.adapters.imported_hashes import PasswordTooLongForHash, UnusablePasswordHash
from app.errors import Busy

T = TypeVar("T")

NICE = 10
MAX_WAIT_SECONDS = 2.0  # for a slot
SMOOTHING = 0.1  # weight of the latest hash in the average
HASH_MIB = 20
OTHER_MIB = 150
SALT_BYTES = 16
TAG_BYTES = 32
# Verification uses the cost parameters of the stored hash, so an imported or corrupt hash could
# demand 4 GiB. These limits allow all known defaults; settings may raise them.
MAX_MEMORY_KIB = 131072
MAX_PASSES = 10
MAX_LANES = 16
MIN_KIB_PER_LANE = 8
ARGON2_PATTERN = re.compile(
    r"\$argon2(?:id|i|d)(?:\$v=(?:16|19))?\$m=[0-9]{1,9},t=[0-9]{1,9},p=[0-9]{1,9}"
    r"\$[A-Za-z0-9+/]{11,128}\$[A-Za-z0-9+/]{22,128}"
)


@dataclass(frozen=True, slots=True)
class Capacity:
    """The number of worker processes, and of threads in each of them."""

    workers: int = 1
    threads: int = 8

    hash_slots: HashSlots | None = None  # shared by the worker processes

    @property
    def max_hashes(self) -> int:
        """Return the number of concurrent hashes of all processes: one per core."""
        affordable = (_get_memory_limit_mib() - OTHER_MIB) // HASH_MIB
        return max(1, min(count_cores(), affordable))

    @property
    def hash_threads(self) -> int:
        """Return the threads of a process for requests that hash.

        One more than there are slots, so that none is idle while a request does something else.
        """
        return self.max_hashes + 1


class PasswordHasher:
    """Hashes and verifies passwords. Raises Busy at capacity. Do not call within a transaction."""

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
        self._slots = capacity.hash_slots or HashSlots(capacity.max_hashes)
        self._threads = ThreadPoolExecutor(
            self._slots.count, thread_name_prefix="argon2", initializer=_lower_thread_priority
        )
        self._lock = threading.Lock()
        self._pending = 0
        self._seconds = 0.0  # moving average of one hash, including the wait for its slot
        # Verified in place of the hash of a nonexistent account, so that both take the same time.
        self.decoy_hash = self._argon2.hash(secrets.token_urlsafe())

    def hash(self, password: str) -> str:
        """Hash the password with a new salt, as a PHC string (RFC 9106)."""
        return self._run_gated(lambda: self._argon2.hash(password))

    def verify(self, password_hash: str, password: str) -> bool:
        """Return whether the password matches.

        An unusable hash matches nothing, at the usual cost.
        """
        try:
            fits = self._build_check(password_hash)
        except UnusablePasswordHash:
            fits = self._reject_at_full_cost
        return self._run_gated(lambda: fits(password.encode()))

    def is_outdated(self, password_hash: str) -> bool:
        """Return whether the hash has another algorithm or other parameters than new hashes."""
        try:
            return self._argon2.check_needs_rehash(password_hash)
        except InvalidHashError:
            return True

    def import_hash(self, password_hash: str) -> str:
        """Return the hash of another system in the stored format. Raises UnusablePasswordHash."""
        plain = imported_hashes.strip_django_prefix(password_hash)
        self._build_check(plain)
        return plain

    def _build_check(self, password_hash: str) -> imported_hashes.PasswordCheck:
        if not password_hash.startswith("$argon2"):
            return partial(self._verify_imported, imported_hashes.parse_hash(password_hash))
        if not ARGON2_PATTERN.fullmatch(password_hash):
            raise UnusablePasswordHash("is malformed or uses an unsupported algorithm")
        cost = argon2.extract_parameters(password_hash)
        requested = (cost.memory_cost, cost.time_cost, cost.parallelism)
        if any(value > maximum for value, maximum in zip(requested, self._max_cost, strict=True)):
            kib, passes, lanes = self._max_cost
            raise UnusablePasswordHash(
                f"is too expensive: the maximum for Argon2 is {kib} KiB, {passes} passes and "
                f"{lanes} lanes"
            )
        if min(requested) < 1 or cost.memory_cost < MIN_KIB_PER_LANE * cost.parallelism:
            raise UnusablePasswordHash("is malformed: its parameters are inconsistent")
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
        """Compute a hash and return False, as for a wrong password."""
        self._verify_argon2(self.decoy_hash, password)
        return False

    def _run_gated(self, work: Callable[[], T]) -> T:
        with self._lock:
            ahead = self._pending - self._slots.count + 1
            if ahead * self._seconds / self._slots.count > MAX_WAIT_SECONDS:
                raise Busy
            self._pending += 1
        try:
            return self._threads.submit(self._run_in_slot, work).result()
        finally:
            with self._lock:
                self._pending -= 1

    def _run_in_slot(self, work: Callable[[], T]) -> T:
        began = time.monotonic()
        with self._slots.hold():
            found = work()
        seconds = time.monotonic() - began
        self._seconds += (SMOOTHING if self._seconds else 1.0) * (seconds - self._seconds)
        return found


def _lower_thread_priority() -> None:
    # Only Linux can change the priority of one thread.
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def count_cores() -> int:
    """Return the cores that this process may use, by affinity and by the container's quota."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, math.ceil(int(quota) / int(period)))
    return cores


def _get_memory_limit_mib() -> int:
    """Return the memory limit of the container (cgroup v2), else the memory of the machine."""
    with suppress(OSError, ValueError):
        return int(Path("/sys/fs/cgroup/memory.max").read_text()) >> 20
    with suppress(OSError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return OTHER_MIB + HASH_MIB
