"""Slots for password hashes: at most one hash per core, over all processes of a server.

Two hashes on one core take longer than one after the other, because they compete for its cache.
A slot is a lock on one byte of a file without a name that all processes inherit. The system
releases it when its process ends, however that happens.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


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
        for slot in order:
            if self._locks[slot].acquire(blocking=False):
                with suppress(BlockingIOError, PermissionError):
                    fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
                    return slot
                self._locks[slot].release()
        slot = order[0]
        self._locks[slot].acquire()
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, slot)
        return slot


def _open_unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("doorward-hash-slots")
    return os.dup(tempfile.TemporaryFile().fileno())
