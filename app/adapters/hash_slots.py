"""Slots for password hashes: at most one hash per core, over all processes of a server.

Two hashes on one core take longer than one after the other, because they compete for its cache.
A slot is a lock on one byte of a file without a name that all processes inherit. The system
releases it when its process ends, however that happens.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

RETRY_SECONDS = 0.002


class HashSlots:
    """Create it before the processes are forked."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._file = _open_unnamed_file()
        # Locks of a file belong to a process, so its threads need locks of their own.
        self._locks = [threading.Lock() for _ in range(count)]

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold a free slot, or wait for one."""
        slot = self._acquire()
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot)
            self._locks[slot].release()

    def _acquire(self) -> int:
        # Processes begin with different slots, so that they seldom meet.
        order = [(os.getpid() + number) % self.count for number in range(self.count)]
        while True:
            for slot in order:
                if self._lock(slot, wait=False):
                    return slot
            if self._lock(order[0], wait=True):
                return order[0]
            time.sleep(RETRY_SECONDS)

    def _lock(self, slot: int, *, wait: bool) -> bool:
        """Lock a slot, and return whether that succeeded.

        The system sees processes, not threads. It reports a deadlock if two processes each hold a
        slot and wait for the other one, although threads of both will release theirs.
        """
        if not self._locks[slot].acquire(blocking=wait):
            return False
        flags = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
        try:
            fcntl.lockf(self._file, flags, 1, slot)
        except OSError as error:
            self._locks[slot].release()
            if error.errno in {errno.EDEADLK, errno.EACCES, errno.EAGAIN}:
                return False
            raise
        return True


def _open_unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("doorward-hash-slots")
    return os.dup(tempfile.TemporaryFile().fileno())
