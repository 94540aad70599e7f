"""A lock that a forked process finds open, whatever the threads of its parent were doing."""

from __future__ import annotations

import os
import threading
import weakref
from types import TracebackType
from typing import NoReturn


class ForkSafeLock:
    """One thread at a time, and the same one as often as it likes."""

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
            "a session is not pickled: save() it, and take it up in the other process by login.from_store()"
        )

    def reset(self) -> None:
        """Whoever holds it is not there any more."""
        self._lock = threading.RLock()


_LOCKS: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


def _reset_all() -> None:
    for one in [*_LOCKS]:
        one.open()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_all)
