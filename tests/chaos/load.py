"""Callers: they live through the lives of instances, and try again whatever fails."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from temporalio.client import Client
from temporalio.service import RPCError

from durable_jobs import Busy, JobClient, JobsError

from .jobs import Deliver, Gather, Handle, Ids, Tick

T = TypeVar("T")


class Callers:
    """Call until told to stop; `added` is what was accepted."""

    def __init__(self, client: Client, queue: str, chance: random.Random) -> None:
        self._jobs = JobClient(client, task_queue=queue)
        self._chance = chance
        self.added: set[str] = set()
        self.started: Counter[str] = Counter()
        self.repeated = 0
        """Calls that failed and were made again."""

    async def call(self, callers: int, seconds: float) -> None:
        """Live through one life after the other, so many at the same time."""
        until = asyncio.get_running_loop().time() + seconds
        await asyncio.gather(*(self._caller(n, until) for n in range(callers)))

    async def _caller(self, number: int, until: float) -> None:
        lives = [self._gather, self._tick, self._handle, self._gather, self._deliver]
        turn = 0
        while asyncio.get_running_loop().time() < until:
            turn += 1
            await lives[(number + turn) % len(lives)](f"{number}-{turn}")

    async def _gather(self, key: str) -> None:
        self.started["debounce"] += 1
        handle = self._jobs.debounce(Gather, key)
        for burst in range(2):
            count = self._chance.randint(1, 12)
            ids = [f"{key}/{burst}/{n}" for n in range(count)]
            await asyncio.gather(*(self._add(handle.add, each) for each in ids))
            await asyncio.sleep(self._chance.uniform(0, 1))

    async def _tick(self, key: str) -> None:
        self.started["continuous"] += 1
        await self._insist(lambda: self._jobs.continuous(Tick, key).start(Ids()))
        await asyncio.sleep(1)

    async def _handle(self, key: str) -> None:
        self.started["task"] += 1
        handle = self._jobs.task(Handle, key)
        for n in range(self._chance.randint(0, 4)):
            await self._add(handle.send, f"{key}/{n}")
        await self._add(handle.send, f"{key}/last")

    async def _deliver(self, key: str) -> None:
        self.started["workerPool"] += 1
        pool = self._jobs.worker_pool(Deliver)
        for n in range(self._chance.randint(1, 8)):
            await self._add(pool.enqueue, f"{key}/pool/{n}")

    async def _add(self, call: Callable[..., Awaitable[object]], name: str) -> None:
        await self._insist(lambda: call(Ids(ids=[name]), id=name))
        self.added.add(name)

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                return await call()
            except (RPCError, Busy, JobsError):
                self.repeated += 1
                await asyncio.sleep(self._chance.uniform(0.1, 0.5))

    async def end_task(self, key: str) -> None:
        """End a task that a repeated call brought back to life."""
        await self._insist(lambda: self._jobs.task(Handle, key).terminate("swept"))

    async def end_pool(self) -> None:
        """End the instances of the pool, which nothing else ends so soon."""
        await self._insist(lambda: self._jobs.worker_pool(Deliver).terminate("swept"))
