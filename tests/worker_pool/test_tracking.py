"""The tracking events of whole lives of a pool's instances, field by field."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.client import Client

from durable_jobs import RunFailure, WorkerPoolJob, WorkerPoolRun
from durable_jobs.handles import WorkerPoolHandle
from durable_jobs.handles.worker_pool import index_of
from tests.support import eventually
from tests.support.lives import (
    EXHAUSTED,
    Event,
    Tracked,
    executed,
    failed,
    failed_for_good,
    terminated,
    tracked_worker,
)
from tests.tracking.jobs import QUICK, Item, fail_if_asked


class Ship(WorkerPoolJob[Item]):
    """Its events say how often they fail."""

    name = "ship-tracked"
    concurrency = 20
    retry = QUICK
    include_state_in_events = True

    async def execute(self, run: WorkerPoolRun[Item]) -> None:
        fail_if_asked(run.attempt, run.event.fail, run.event.word)
        if run.event.word == "end":
            run.terminate("closed")


class ShipCarefully(Ship):
    name = "ship-carefully"

    async def on_dead_letter(self, run: WorkerPoolRun[Item], error: RunFailure) -> None:
        """Hears of it."""

    async def on_empty(self, run: WorkerPoolRun[None]) -> None:
        """Hears of it."""


class ShipBriefly(Ship):
    name = "ship-briefly"
    idle_timeout = timedelta(milliseconds=200)


class ShipOrEnd(Ship):
    name = "ship-or-end"
    on_exhausted = "terminate"


class ShipOrPause(Ship):
    name = "ship-or-pause"
    on_exhausted = "pause"


@pytest.fixture(scope="module")
async def worker(client: Client) -> AsyncIterator[Tracked]:
    jobs = [Ship(), ShipCarefully(), ShipBriefly(), ShipOrEnd(), ShipOrPause()]
    async with tracked_worker(client, "worker-pool-tracking", jobs) as running:
        yield running


def ended(how: str, reason: str, run: int, discarded: int = 0) -> Event:
    return {**terminated(reason, run, discarded), "ended": how}


def place(pool: WorkerPoolHandle[Item], index: int) -> str:
    return f"workerPool:{pool.job_name}:{index}"


def key_for(index: int) -> str:
    """A partition key of that instance."""
    return next(str(n) for n in range(10_000) if index_of(str(n), Ship.concurrency) == index)


async def test_a_pool_is_tracked_through_retries_and_its_end(worker: Tracked) -> None:
    pool = worker.jobs.worker_pool(Ship)
    events = [Item(), Item(fail=2), Item(word="end")]
    await pool.enqueue_many(events, partition_key=key_for(0))
    life = await worker.life(place(pool, 0), "job.terminated")
    assert life == [
        {"type": "job.started"},
        executed(1),
        failed(2, 1, again=True),
        failed(2, 2, again=True),
        executed(2, attempt=3),
        executed(3),
        ended("terminated", "closed", 3),
    ]


async def test_a_dead_letter_and_an_empty_queue_are_runs_of_their_own(worker: Tracked) -> None:
    pool = worker.jobs.worker_pool(ShipCarefully)
    await pool.enqueue_many([Item(fail=3), Item()], partition_key=key_for(1))
    await eventually(lambda: _failed_events(pool, 1))
    await worker.until(place(pool, 1), "job.executed", "job.executed", "job.executed")
    await pool.drain(index=1)
    await pool.terminate("enough", index=1)
    life = await worker.life(place(pool, 1), "job.terminated")
    assert life == [
        {"type": "job.started"},
        *failed_for_good(1),
        executed(2, "on_dead_letter"),
        executed(3),
        executed(4, "on_empty"),
        ended("terminated", "enough", 4, discarded=1),
    ]


async def _failed_events(pool: WorkerPoolHandle[Item], count: int) -> bool:
    return len((await pool.status()).failed_events) == count


async def test_a_drained_instance_and_an_idle_one_are_completed(worker: Tracked) -> None:
    pool = worker.jobs.worker_pool(Ship)
    await pool.enqueue(Item(), partition_key=key_for(2))
    await worker.until(place(pool, 2), "job.executed")
    await pool.drain(index=2)
    life = await worker.life(place(pool, 2), "job.terminated")
    assert life == [{"type": "job.started"}, executed(1), ended("completed", "drained", 1)]

    brief = worker.jobs.worker_pool(ShipBriefly)
    await brief.enqueue(Item(), partition_key=key_for(3))
    life = await worker.life(place(brief, 3), "job.terminated")
    reason = "idle for 0:00:00.200000"
    assert life == [{"type": "job.started"}, executed(1), ended("completed", reason, 1)]


async def test_exhausted_retries_end_or_pause_an_instance(worker: Tracked) -> None:
    pool = worker.jobs.worker_pool(ShipOrEnd)
    await pool.enqueue(Item(fail=3), partition_key=key_for(4))
    life = await worker.life(place(pool, 4), "job.terminated")
    assert life == [
        {"type": "job.started"},
        *failed_for_good(1),
        ended("exhausted", EXHAUSTED, 1, discarded=1),
    ]
    pausing = worker.jobs.worker_pool(ShipOrPause)
    await pausing.enqueue(Item(fail=3), partition_key=key_for(5))
    await worker.until(place(pausing, 5), "job.paused")
    await pausing.terminate("given up", index=5)
    life = await worker.life(place(pausing, 5), "job.terminated")
    assert life == [
        {"type": "job.started"},
        *failed_for_good(1),
        {"type": "job.paused", "by": "exhausted"},
        ended("terminated", "given up", 1, discarded=1),
    ]


async def test_a_pause_and_what_it_held_back_are_tracked(worker: Tracked) -> None:
    pool = worker.jobs.worker_pool(Ship)
    await pool.pause("a release", index=6)
    await pool.enqueue_many([Item(), Item()], partition_key=key_for(6))
    await pool.resume(index=6)
    await worker.until(place(pool, 6), "job.executed", "job.executed")
    await pool.terminate(index=6)
    life = await worker.life(place(pool, 6), "job.terminated")
    assert life == [
        {"type": "job.started"},
        {"type": "job.paused", "by": "user", "note": "a release"},
        {"type": "job.resumed", "by": "user"},
        executed(1),
        executed(2),
        {**terminated(None, 2), "ended": "terminated"},
    ]
