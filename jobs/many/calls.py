"""Calls to many instances: some at a time, at a rate, and none where nobody answers."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AT_ONCE = 64
_SILENCES = 24
"""So many in a row, and no worker of the queue answers."""


async def results(
    items: Iterable[T], call: Callable[[T], Awaitable[R]], at_once: int = AT_ONCE
) -> AsyncGenerator[R]:
    """What calls give, as they end; so many are under way at a time."""
    todo = iter(items)
    under_way: set[asyncio.Future[R]] = set()
    try:
        while True:
            new = islice(todo, at_once - len(under_way))
            under_way |= {asyncio.ensure_future(call(item)) for item in new}
            if not under_way:
                return
            done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                yield each.result()
    finally:
        for each in under_way:
            each.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


class Pace:
    """Lets calls begin at a rate, evenly."""

    def __init__(self, a_second: float) -> None:
        self._interval = 1 / a_second
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for the next turn."""
        now = asyncio.get_running_loop().time()
        at = max(self._next, now)
        self._next = at + self._interval
        await asyncio.sleep(at - now)


class Silences:
    """Notes which task queues have no worker that answers, so that nobody waits for each one."""

    def __init__(self) -> None:
        self._in_a_row: Counter[str] = Counter()

    def note(self, queue: str, *, answered: bool) -> None:
        """Note an answer, or that none came in time."""
        if answered:
            self._in_a_row[queue] = 0
        else:
            self._in_a_row[queue] += 1

    def hopeless(self, queue: str) -> bool:
        """Whether it is no use to ask."""
        return self._in_a_row[queue] >= _SILENCES
