"""The queue of requests that hash a password. They wait on the event loop and hold no thread.

Each source and each account has its turn: the second request of a source waits until every other
source had its first. A request that would wait too long is refused at once.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from app.errors import Busy

MAX_WAIT_SECONDS = 2.0
FIRST_ESTIMATE_SECONDS = 0.05  # of one request, until some were measured
SMOOTHING = 0.1  # weight of the latest request in the estimate


@dataclass(order=True, slots=True)
class _Waiting:
    turn: int
    number: int
    admitted: asyncio.Future[None] = field(compare=False)


class HashQueue:
    """Admits a few requests at a time. Use it from one event loop only."""

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._running = 0
        self._arrived = 0
        self._present: Counter[str] = Counter()  # requests that run or wait, by owner
        self._waiting: list[_Waiting] = []
        self._seconds = FIRST_ESTIMATE_SECONDS
        self._is_measured = False

    @asynccontextmanager
    async def admit(self, *owners: str) -> AsyncIterator[None]:
        """Wait for the turn of a request of these owners: its source, and its account.

        Raises Busy if it would wait too long, or has.
        """
        turn = max(self._present[owner] for owner in owners)
        self._present.update(owners)
        try:
            await self._wait(turn)
            began = time.monotonic()
            try:
                yield
            finally:
                self._measure(time.monotonic() - began)
                self._leave()
        finally:
            self._present.subtract(owners)
            for owner in owners:
                if not self._present[owner]:
                    del self._present[owner]

    def _measure(self, seconds: float) -> None:
        if not self._is_measured:
            self._is_measured, self._seconds = True, seconds
        self._seconds += SMOOTHING * (seconds - self._seconds)

    async def _wait(self, turn: int) -> None:
        if self._running < self._concurrency:
            self._running += 1
            return
        ahead = sum(each.turn <= turn and not each.admitted.done() for each in self._waiting)
        if ahead * self._seconds / self._concurrency > MAX_WAIT_SECONDS:
            raise Busy
        self._arrived += 1
        waiting = _Waiting(turn, self._arrived, asyncio.get_running_loop().create_future())
        heapq.heappush(self._waiting, waiting)
        try:
            async with asyncio.timeout(MAX_WAIT_SECONDS):
                await waiting.admitted
        except TimeoutError:
            self._give_back(waiting)
            raise Busy from None
        except asyncio.CancelledError:
            self._give_back(waiting)
            raise

    def _give_back(self, waiting: _Waiting) -> None:
        """Pass on the place of a request that was admitted in the moment when it gave up."""
        if waiting.admitted.done() and not waiting.admitted.cancelled():
            self._leave()

    def _leave(self) -> None:
        """Give the place of a request to the next one."""
        while self._waiting:
            admitted = heapq.heappop(self._waiting).admitted
            if not admitted.done():
                admitted.set_result(None)
                return
        self._running -= 1


def find_account(scope: Any, body: bytes) -> str:
    """Return a text that is the same for most requests about one account.

    It only decides about the order in the queue, so that it need not be exact.
    """
    for name, value in scope["headers"]:
        if name == b"authorization":
            return hashlib.sha256(value).hexdigest()
    try:
        found = json.loads(body)
        return str(found["username"]).lower()
    except (ValueError, TypeError, KeyError, RecursionError):
        return hashlib.sha256(body).hexdigest()
