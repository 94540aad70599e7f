"""A re-entrant lock that a forked child process always finds unlocked."""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType
from typing import NoReturn


class ForkSafeLock:
    """A re-entrant thread lock that is released in the child after a fork."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        _LOCKS.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a session cannot be pickled; save it with to_store() and load it in the other process"
            " with login.from_store()"
        )

    def reset(self) -> None:
        """Replace the lock. The thread that held it does not exist in the child process."""
        self._lock = threading.RLock()


_LOCKS: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


def _reset_all() -> None:
    for lock in [*_LOCKS]:
        lock.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
