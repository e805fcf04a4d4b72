"""Drives a few instances with all that callers can do, at once and at random."""

import asyncio
import gc
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from durable_jobs import JobsError
from durable_jobs.handles.base import Handle
from tests.support import eventually
from tests.support.lives import Tracked
from tests.tracking.jobs import Basket, Beat, Gather, GatherOn, Item
from tests.tracking.jobs import Handle as Task

PATIENCE = timedelta(seconds=0.5)

EXPECTED = (JobsError, RPCError, TimeoutError, WorkflowUpdateFailedError)
"""How calls at random end: asks of handlers that fail, of instances that are paused or ended by
another caller meanwhile. What was made of each call is read from the instances afterwards."""


class Commotion:
    """Several callers who call the same instances, with a seed each."""

    def __init__(self, worker: Tracked, key: str) -> None:
        self._worker = worker
        jobs = worker.jobs
        self._gathers = [jobs.debounce(Gather, key), jobs.debounce(GatherOn, key)]
        self._beat = jobs.continuous(Beat, key)
        self._task = jobs.task(Task, key)

    async def last(self, seconds: float, callers: int) -> None:
        """Let callers call for some time, then end what is still alive."""
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._call_on(until, seed) for seed in range(callers)))
        await eventually(self._all_ended, within=30, every=0.1)
        # The SDK logs calls that were given up when they are collected. In the middle of pytest
        # reading source, that makes Python 3.11 stumble over its own parser.
        gc.collect()

    async def _call_on(self, until: float, seed: int) -> None:
        chance = random.Random(seed)
        while time.monotonic() < until:
            call = chance.choice([self._control, self._add, self._add, self._tick, self._ask])
            with suppress(*EXPECTED):
                async with asyncio.timeout(PATIENCE.total_seconds()):
                    await call(chance)
            await asyncio.sleep(chance.uniform(0, 0.01))

    async def _control(self, chance: random.Random) -> None:
        handle: Handle[Any] = chance.choice([*self._gathers, self._beat, self._task])
        calls: list[tuple[int, Callable[[], Awaitable[object]]]] = [
            (4, handle.status),
            (3, handle.state),
            (1, handle.pause),
            (3, handle.resume),
            (1, handle.terminate),
        ]
        await chance.choices([call for _, call in calls], [weight for weight, _ in calls])[0]()

    async def _add(self, chance: random.Random) -> None:
        gather = chance.choice(self._gathers)
        event = Item(fail=chance.choice([0, 0, 1, 3]), word=chance.choice(["", "", "enough"]))
        match chance.randrange(5):
            case 0 | 1:
                await gather.add(event, id=chance.choice([None, "a", "b"]))
            case 2 | 3:
                await gather.add_confirmed(event, id=chance.choice([None, "a", "b"]))
            case _:
                await chance.choice([gather.flush, gather.clear])()

    async def _tick(self, chance: random.Random) -> None:
        if chance.random() < 0.5:
            await self._beat.start(Basket(total=chance.choice([2, 9]), fail=chance.choice([0, 2])))
        else:
            await self._beat.trigger()

    async def _ask(self, chance: random.Random) -> None:
        event = Item(fail=chance.choice([0, 0, 1, 3]), word=chance.choice(["", "alarm", "end"]))
        match chance.randrange(4):
            case 0:
                await self._task.send(event)
            case 1 | 2:
                await self._task.ask(event, timeout=PATIENCE)
            case _:
                await self._task.trigger()

    async def _all_ended(self) -> bool:
        running = f"TaskQueue = '{self._worker.queue}' AND ExecutionStatus = 'Running'"
        alive = [run async for run in self._worker.client.list_workflows(running)]
        for run in alive:
            if run.workflow_type not in ("TrackingDelivery", "JobAttempt"):
                # The list is late: it may have ended.
                with suppress(RPCError):
                    await self._worker.handle(run.id).signal("terminate")
        return not alive
