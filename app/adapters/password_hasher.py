"""Argon2id behind a gate: a bounded number of hashes at once, on threads that give way to everything else.

Hashes of other systems pass the same gate, see foreign_hashes.py.
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

from app.adapters import foreign_hashes
from app.adapters.foreign_hashes import NotAHash, TooLong
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
LEAST_KIB_OF_A_LANE = 8
ARGON2 = re.compile(
    r"\$argon2(?:id|i|d)(?:\$v=(?:16|19))?\$m=[0-9]{1,9},t=[0-9]{1,9},p=[0-9]{1,9}\$[A-Za-z0-9+/]{11,128}\$[A-Za-z0-9+/]{22,128}"
)


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
            time_cost=passes,
            memory_cost=memory_kib,
            parallelism=1,
            hash_len=TAG_BYTES,
            salt_len=SALT_BYTES,
            type=argon2.Type.ID,
        )
        self._most = (max(memory_kib, MOST_MEMORY_KIB), max(passes, MOST_PASSES), MOST_LANES)
        self._admission = threading.BoundedSemaphore(capacity.admitted)
        self._slots = threading.BoundedSemaphore(capacity.hashes)
        self._threads = ThreadPoolExecutor(
            capacity.hashes, thread_name_prefix="argon2", initializer=_give_way
        )
        # Verified instead of the hash of an account that does not exist, so that both cost the same.
        self.decoy = self._argon2.hash(secrets.token_urlsafe())

    def hash(self, password: str) -> str:
        """A PHC string (RFC 9106) with a fresh salt."""
        return self._gated(lambda: self._argon2.hash(password))

    def verify(self, password_hash: str, password: str) -> bool:
        """Does the password fit? A hash that cannot be read, or asks for an absurd cost, fits nothing."""
        try:
            fits = self._read(password_hash)
        except NotAHash:
            fits = self._fits_nothing
        return self._gated(lambda: fits(password.encode()))

    def outdated(self, password_hash: str) -> bool:
        """Was it made with other parameters than those of now, or in another way?"""
        try:
            return self._argon2.check_needs_rehash(password_hash)
        except InvalidHashError:
            return True

    def brought_along(self, password_hash: str) -> str:
        """A hash that another system made, as it is kept here. Raises NotAHash for one that would never fit."""
        plain = foreign_hashes.unwrapped(password_hash)
        self._read(plain)
        return plain

    def _read(self, password_hash: str) -> foreign_hashes.Check:
        if not password_hash.startswith("$argon2"):
            return partial(self._fits_foreign, foreign_hashes.read(password_hash))
        if not ARGON2.fullmatch(password_hash):
            raise NotAHash("is damaged, or of a kind that cannot be checked")
        cost = argon2.extract_parameters(password_hash)
        asked = (cost.memory_cost, cost.time_cost, cost.parallelism)
        if any(much > most for much, most in zip(asked, self._most, strict=True)):
            kib, passes, lanes = self._most
            raise NotAHash(
                f"costs too much to check: Argon2 of more than {kib} KiB, {passes} passes or {lanes} lanes"
            )
        if min(asked) < 1 or cost.memory_cost < LEAST_KIB_OF_A_LANE * cost.parallelism:
            raise NotAHash("is damaged: its numbers do not go together")
        return partial(self._fits, password_hash)

    def _fits(self, password_hash: str, password: bytes) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

    def _fits_foreign(self, check: foreign_hashes.Check, password: bytes) -> bool:
        try:
            return check(password)
        except TooLong:
            return self._fits_nothing(password)

    def _fits_nothing(self, password: bytes) -> bool:
        """The cost of a check and the answer of a wrong password."""
        self._fits(self.decoy, password)
        return False

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
    with suppress(
        OSError, AttributeError
    ):  # Linux alone can renice one thread; elsewhere the gate still bounds them.
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
