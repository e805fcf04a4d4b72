"""Where events go, in which order they are handled, and how many at a time."""

import asyncio
import re
from collections import Counter
from pathlib import Path
from zlib import crc32

import pytest
from temporalio.client import Client

from durable_jobs import (
    DefinitionError,
    InvalidArgument,
    InvalidEvent,
    InvalidKey,
    JobClient,
    TaskJob,
    TaskRun,
)
from durable_jobs.handles.worker_pool import index_of
from tests.support import eventually
from tests.support.jobs import QUICK, running_worker
from tests.worker_pool.conftest import Handle, Running
from tests.worker_pool.jobs import Deliver, Gate, Hook, fresh

DOCS = Path(__file__).parents[2] / "docs" / "other-languages.md"
VECTOR = re.compile(r"^\| `(.+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", re.MULTILINE)


def test_the_docs_tell_other_languages_which_instance_a_partition_key_goes_to() -> None:
    vectors = VECTOR.findall(DOCS.read_text())
    assert len(vectors) == 6
    for key, crc, *indexes in vectors:
        assert crc32(key.encode()) == int(crc)
        assert [str(index_of(key, concurrency)) for concurrency in (5, 7, 1000)] == indexes


async def test_events_of_a_key_are_handled_in_order_by_one_instance(running: Running) -> None:
    job = fresh(Deliver)()
    async with running(job) as pool:
        await asyncio.gather(
            *(
                pool.enqueue(Hook(to=to, n=n), partition_key=to)
                for n in range(40)
                for to in ("a", "b", "c", "d")
            )
        )
        await eventually(lambda: len(job.notes.done) == 160)
    for to in ("a", "b", "c", "d"):
        assert job.notes.numbers(to) == list(range(40))
        indexes = {run.index for run in job.notes.runs if run.event.to == to}
        assert indexes == {index_of(to, 3)}


async def test_events_without_a_key_go_to_each_instance_in_turn(running: Running) -> None:
    job = fresh(Deliver)()
    async with running(job) as pool:
        for n in range(9):
            await pool.enqueue(Hook(n=n))
        await eventually(lambda: len(job.notes.done) == 9)
        assert Counter(job.notes.indexes()) == {0: 3, 1: 3, 2: 3}
        await eventually(lambda: _waits(pool, 0))
        status = await pool.status()
        assert [each.handled_events for each in status.instances] == [3, 3, 3]
        assert (status.handled_events, status.event_count, status.running) == (9, 0, 0)


async def test_handles_of_one_client_take_turns_together(client: Client, queue: str) -> None:
    pool = fresh(Deliver)
    jobs = JobClient(client, task_queue=queue)
    for n in range(6):
        await jobs.worker_pool(pool).enqueue(Hook(n=n))
    for index in range(3):
        instance = client.get_workflow_handle(f"workerPool:{pool.name}:{index}")
        events = (await instance.fetch_history()).events
        signals = [e for e in events if e.HasField("workflow_execution_signaled_event_attributes")]
        assert len(signals) == 2
        await instance.terminate()


async def test_as_many_events_are_under_way_as_there_are_instances(running: Running) -> None:
    gate = Gate()
    job = fresh(Deliver)(gate)
    async with running(job) as pool:
        await pool.enqueue_many([Hook(n=n) for n in range(30)])
        await eventually(lambda: len(job.notes.runs) == 3)
        status = await pool.status()
        assert (status.running, status.event_count) == (3, 30)
        assert status.oldest_event_at is not None
        gate.opened.set()
        await eventually(lambda: len(job.notes.done) == 30)
    assert job.notes.most == 3
    assert sorted(job.notes.numbers()) == list(range(30))


async def test_a_higher_priority_goes_first_and_equal_ones_as_they_came(running: Running) -> None:
    gate = Gate()
    job = fresh(Deliver, concurrency=1)(gate)
    async with running(job) as pool:
        await pool.enqueue(Hook(n=0))
        await eventually(lambda: job.notes.runs)
        await pool.enqueue_many([Hook(n=1), Hook(n=2)])
        await pool.enqueue_many([Hook(n=3), Hook(n=4)], priority=5)
        await pool.enqueue(Hook(n=5), priority=-1)
        await pool.enqueue(Hook(n=6), priority=9)
        await eventually(lambda: _waits(pool, 7))
        gate.opened.set()
        await eventually(lambda: len(job.notes.done) == 7)
    assert job.notes.numbers() == [0, 6, 3, 4, 1, 2, 5]
    assert [run.priority for run in job.notes.runs] == [0, 9, 5, 5, 0, 0, -1]
    assert [run.sequence for run in job.notes.runs] == [1, 7, 4, 5, 2, 3, 6]


async def _waits(pool: Handle, count: int) -> bool:
    return (await pool.status()).event_count == count


async def test_a_run_knows_its_event_its_instance_and_when_it_was_queued(
    running: Running,
) -> None:
    job = fresh(Deliver)()
    async with running(job) as pool:
        await pool.enqueue(Hook(n=7), partition_key="a", priority=2)
        await eventually(lambda: job.notes.done)
        [run] = job.notes.runs
        status = await pool.status()
    assert (run.event, run.sequence, run.index, run.priority) == (Hook(n=7), 1, index_of("a", 3), 2)
    key = str(run.index)
    assert (run.key, run.instance_id) == (key, f"workerPool:{job.name}:{key}")
    assert (run.run_count, run.attempt, run.job_name) == (1, 1, job.name)
    assert run.enqueued_at is not None
    [instance] = status.instances
    assert instance.started_at == run.enqueued_at


async def test_a_burst_of_quick_events_shares_activities(running: Running, client: Client) -> None:
    job = fresh(Deliver, concurrency=1)()
    async with running(job) as pool:
        await pool.pause()
        await pool.enqueue_many([Hook(n=n) for n in range(500)])
        await eventually(lambda: _waits(pool, 500))
        await pool.resume()
        await eventually(lambda: len(job.notes.done) == 500)
        await eventually(lambda: _waits(pool, 0))
        history = await client.get_workflow_handle(f"workerPool:{job.name}:0").fetch_history()
    assert job.notes.numbers() == list(range(500))
    assert [run.run_count for run in job.notes.runs] == list(range(1, 501))
    assert len({run.idempotency_key for run in job.notes.runs}) == 500
    started = [e for e in history.events if e.HasField("activity_task_scheduled_event_attributes")]
    assert len(started) < 20


async def test_an_id_that_was_seen_is_dropped_also_without_a_partition_key(
    running: Running,
) -> None:
    job = fresh(Deliver)()
    async with running(job) as pool:
        for n in range(5):
            await pool.enqueue(Hook(n=n), id="delivery-1")
            await pool.enqueue(Hook(n=n), partition_key="a", id="delivery-2")
        await pool.enqueue_many([Hook(n=10), Hook(n=11)], ids=["delivery-1", "delivery-3"])
        await eventually(lambda: len(job.notes.done) == 3)
        await eventually(lambda: _waits(pool, 0))
    assert sorted(job.notes.numbers()) == [0, 0, 11]


async def test_what_a_run_enqueues_is_queued_once_however_often_its_attempts_repeat(
    client: Client, queue: str
) -> None:
    pool = fresh(Deliver)
    job = pool()

    class Fan(TaskJob[int, int]):
        name = f"fan-{queue}"
        retry = QUICK

        async def on_event(self, run: TaskRun[int], event: int) -> None:
            for n in range(event):
                await run.jobs.worker_pool(pool).enqueue(Hook(n=n))
            if not run.is_retry:
                raise ConnectionError("again")

        async def execute(self, run: TaskRun[int]) -> None: ...

    async with running_worker(client, queue, job, Fan()) as jobs:
        await jobs.task(Fan, queue).ask(6)
        handle = jobs.worker_pool(pool)
        await eventually(lambda: _handled(handle, 6))
        await handle.terminate()
        await jobs.task(Fan, queue).terminate()
    assert sorted(job.notes.numbers()) == list(range(6))


async def _handled(pool: Handle, count: int) -> bool:
    status = await pool.status()
    return (status.handled_events, status.event_count) == (count, 0)


async def test_a_job_of_another_type_names_the_method_to_use(client: Client, queue: str) -> None:
    jobs = JobClient(client, task_queue=queue)
    with pytest.raises(TypeError, match=r"use jobs.worker_pool\(Deliver\)"):
        jobs.task(Deliver, "a")  # type: ignore[type-var]
    with pytest.raises(TypeError, match="takes a WorkerPoolJob class"):
        jobs.worker_pool(TaskJob)  # type: ignore[type-var]
    with pytest.raises(DefinitionError, match="concurrency is a whole number from 1 to 1,000"):
        jobs.worker_pool(fresh(Deliver, concurrency=0))


async def test_what_is_wrong_is_refused_before_anything_is_sent(client: Client, queue: str) -> None:
    pool = JobClient(client, task_queue=queue).worker_pool(fresh(Deliver))
    good = Hook()
    with pytest.raises(InvalidEvent, match="n"):
        await pool.enqueue({"n": "many"})  # type: ignore[arg-type]
    with pytest.raises(InvalidEvent, match="n"):
        await pool.enqueue_many([good, {"n": "many"}])  # type: ignore[list-item]
    for key in ("", 5, "\ud800"):
        with pytest.raises(InvalidKey, match="partition key"):
            await pool.enqueue(good, partition_key=key)  # type: ignore[arg-type]
    for priority in (1.5, True, 10**7, "high"):
        with pytest.raises(InvalidArgument, match="priority"):
            await pool.enqueue(good, priority=priority)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="2 events, but 1 ids"):
        await pool.enqueue_many([good, good], ids=["a"])
    with pytest.raises(InvalidEvent, match="id"):
        await pool.enqueue(good, id="x" * 301)
    with pytest.raises(InvalidEvent, match="id"):
        await pool.enqueue(good, id=5)  # type: ignore[arg-type]
    for index in (-1, 1000, "0", True):
        with pytest.raises(InvalidArgument, match="index"):
            await pool.pause(index=index)  # type: ignore[arg-type]
    assert (await pool.status()).instances == ()


async def test_orders_to_a_pool_that_never_had_an_event_say_so(client: Client, queue: str) -> None:
    pool = JobClient(client, task_queue=queue).worker_pool(fresh(Deliver))
    assert not await pool.resume()
    assert not await pool.drain()
    assert not await pool.trigger()
    assert not await pool.terminate()
    assert await pool.clear() == 0
    assert await pool.redrive() == 0
