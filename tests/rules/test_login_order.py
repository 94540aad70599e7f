"""The order in which requests that hash a password are admitted."""

from __future__ import annotations

import asyncio

import pytest

from app.errors import Busy
from app.server.hash_queue import HashQueue


def run_in_queue(arrivals: list[tuple[str, str]]) -> list[int]:
    """Admit one request at a time. Returns the numbers of the arrivals as they were admitted."""
    admitted: list[int] = []

    async def request(queue: HashQueue, number: int, owners: tuple[str, str]) -> None:
        async with queue.admit(*owners):
            admitted.append(number)
            await asyncio.sleep(0)

    async def main() -> None:
        queue = HashQueue(1)
        await asyncio.gather(
            *(request(queue, number, owners) for number, owners in enumerate(arrivals))
        )

    asyncio.run(main())
    return admitted


def test_requests_of_many_sources_are_admitted_as_they_arrive():
    arrivals = [(f"source {number}", f"account {number}") for number in range(10)]
    assert run_in_queue(arrivals) == list(range(10))


def test_busy_source_does_not_delay_others():
    flood = [("source 1", f"account {number}") for number in range(5)]
    assert run_in_queue([*flood, ("source 2", "account x"), ("source 3", "account y")]) == [
        *(0, 5, 6),
        *(1, 2, 3, 4),
    ]


def test_busy_account_does_not_delay_others():
    flood = [(f"source {number}", "account 1") for number in range(4)]
    assert run_in_queue([*flood, ("source 9", "account 9")]) == [0, 4, 1, 2, 3]


def test_request_that_would_wait_too_long_is_refused_at_once():
    async def main() -> list[str]:
        queue = HashQueue(1)
        outcomes: list[str] = []

        async def request(number: int) -> None:
            try:
                async with queue.admit("source", f"account {number}"):
                    await asyncio.sleep(0.001)
                    outcomes.append("admitted")
            except Busy:
                outcomes.append("refused")

        await asyncio.gather(*(request(number) for number in range(100)))
        return outcomes

    outcomes = asyncio.run(main())
    # Until one was measured, a request is expected to take 50 ms, so 40 fill two seconds.
    assert outcomes[0] == "refused"
    assert 40 <= outcomes.count("admitted") <= 43


def test_canceled_request_leaves_its_place():
    async def main() -> None:
        queue = HashQueue(1)
        async with queue.admit("a", "b"):
            waiting = asyncio.create_task(enter(queue))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        async with asyncio.timeout(1), queue.admit("c", "d"):
            pass

    async def enter(queue: HashQueue) -> None:
        async with queue.admit("e", "f"):
            pass

    asyncio.run(main())
