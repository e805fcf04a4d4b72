"""Orders to a pool: pause, trigger, drain, clear, and how its instances end."""

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import Client

from durable_jobs import JobStatus, Retry, WorkerPoolRun
from durable_jobs.workflows import carry
from tests.support import eventually
from tests.support.jobs import let_pass, result_of, running_worker, went_on
from tests.worker_pool.conftest import Handle, Running
from tests.worker_pool.jobs import Deliver, Flaky, Gate, Hook, Watched, fresh

A_WHILE = timedelta(milliseconds=200)
AN_HOUR = timedelta(hours=1)


async def only(pool: Handle) -> JobStatus:
    """The status of the pool's one instance."""
    [instance] = (await pool.status()).instances
    return instance


async def words(pool: Handle) -> list[str]:
    """What the instances do."""
    return [each.status for each in (await pool.status()).instances]


async def waits(pool: Handle, count: int) -> bool:
    """Whether so many events wait or are under way."""
    return (await pool.status()).event_count == count


# -- pause ----------------------------------------------------------------------------------


async def test_a_pool_that_was_paused_before_its_first_event_begins_none(
    running: Running,
) -> None:
    job = fresh(Deliver)()
    async with running(job) as pool:
        assert await pool.pause("a release")
        await pool.enqueue_many([Hook(n=n) for n in range(6)])
        await eventually(lambda: waits(pool, 6))
        await let_pass(A_WHILE)
        status = await pool.status()
        assert [each.status for each in status.instances] == ["paused"] * 3
        assert {each.pause_note for each in status.instances} == {"a release"}
        assert job.notes.runs == []
        assert await pool.resume()
        await eventually(lambda: len(job.notes.done) == 6)


async def test_one_instance_can_be_paused_alone(running: Running) -> None:
    job = fresh(Deliver)()
    async with running(job) as pool:
        assert await pool.pause(index=1)
        await pool.enqueue_many([Hook(n=n) for n in range(6)])
        await eventually(lambda: len(job.notes.done) == 4)
        await let_pass(A_WHILE)
        assert set(job.notes.indexes()) == {0, 2}
        assert await pool.resume(index=1)
        await eventually(lambda: len(job.notes.done) == 6)


async def test_trigger_handles_one_event_of_a_paused_pool(running: Running) -> None:
    job = fresh(Watched)()
    async with running(job) as pool:
        await pool.pause()
        await pool.enqueue_many([Hook(n=n) for n in range(3)])
        await eventually(lambda: waits(pool, 3))
        assert await pool.trigger()
        await eventually(lambda: waits(pool, 2))
        await let_pass(A_WHILE)
        assert job.notes.numbers() == [0]
        assert (await words(pool), job.notes.empty) == (["paused"], [])


async def test_an_event_under_way_goes_on_while_its_pool_is_paused(running: Running) -> None:
    gate = Gate()
    job = fresh(Watched)(gate)
    async with running(job) as pool:
        await pool.enqueue_many([Hook(n=n) for n in range(3)])
        await eventually(lambda: job.notes.runs)
        await pool.pause()
        await let_pass(timedelta(seconds=1.2))
        gate.opened.set()
        await eventually(lambda: words_are(pool, "paused"))
        assert job.notes.numbers() == [0]
        assert await waits(pool, 2)
        await pool.resume()
        await eventually(lambda: len(job.notes.done) == 3)


async def words_are(pool: Handle, word: str) -> bool:
    return await words(pool) == [word]


# -- clear ----------------------------------------------------------------------------------


async def test_clear_drops_what_waits_and_counts_it(running: Running, client: Client) -> None:
    job = fresh(Watched)()
    async with running(job) as pool:
        await pool.pause()
        await pool.enqueue_many([Hook(n=n) for n in range(4)])
        await eventually(lambda: waits(pool, 4))
        assert await pool.clear() == 4
        assert await pool.clear() == 0
        status = await only(pool)
        assert (status.event_count, status.discarded_events) == (0, 4)
        await pool.resume()
        await pool.enqueue(Hook(n=9))
        await eventually(lambda: job.notes.numbers() == [9])
        assert await pool.terminate("enough")
        assert (await result_of(client, status.instance_id))["discardedEvents"] == 4


async def test_clear_drops_what_was_given_to_a_slow_activity_too(running: Running) -> None:
    gate = Gate()
    job = fresh(Watched)(gate)
    async with running(job) as pool:
        await pool.enqueue_many([Hook(n=n) for n in range(5)])
        await eventually(lambda: job.notes.runs)
        await pool.enqueue(Hook(n=5))
        await eventually(lambda: waits(pool, 6))
        assert await pool.clear() == 5
        # No further event begins a second after the first.
        await let_pass(timedelta(seconds=1.2))
        gate.opened.set()
        await eventually(lambda: waits(pool, 0))
        status = await only(pool)
    assert job.notes.numbers() == [0]
    assert (status.handled_events, status.discarded_events) == (1, 5)


async def test_clear_drops_what_waits_behind_an_event_in_its_backoff(running: Running) -> None:
    flaky = Flaky()
    slow = Retry(3, initial=AN_HOUR, maximum=AN_HOUR)
    job = fresh(Watched, retry=slow)(flaky)
    async with running(job) as pool:
        await pool.enqueue_many([Hook(n=-1), Hook(n=1), Hook(n=2)])
        await eventually(lambda: words_are(pool, "retrying"))
        assert await pool.clear() == 2
        flaky.broken = False
        await pool.trigger()
        await eventually(lambda: waits(pool, 0))
        status = await only(pool)
    assert job.notes.numbers() == [-1]
    assert (status.handled_events, status.discarded_events) == (1, 2)


# -- the end --------------------------------------------------------------------------------


async def test_drain_works_off_what_waits_and_ends_the_instances(
    running: Running, client: Client
) -> None:
    gate = Gate()
    job = fresh(Deliver)(gate)
    async with running(job) as pool:
        await pool.enqueue_many([Hook(n=n) for n in range(9)])
        await eventually(lambda: len(job.notes.runs) == 3)
        assert await pool.drain()
        assert all(each.draining for each in (await pool.status()).instances)
        await pool.enqueue(Hook(n=9))
        gate.opened.set()
        await eventually(lambda: _all_are(pool, "completed"))
        assert len(job.notes.done) == 10
        ended = await result_of(client, f"workerPool:{job.name}:0")
        assert (ended["status"], ended["reason"]) == ("completed", "drained")
        await pool.enqueue(Hook(n=10), partition_key="a")
        await eventually(lambda: len(job.notes.done) == 11)
        statuses = (await pool.status()).instances
        assert sorted(each.status for each in statuses) == ["completed", "completed", "idle"]
        assert not any(each.draining for each in statuses if each.status == "idle")


async def _all_are(pool: Handle, word: str) -> bool:
    return set(await words(pool)) == {word}


async def test_drain_keeps_failed_events_until_they_are_brought_back(running: Running) -> None:
    flaky = Flaky(final=True)
    job = fresh(Watched)(flaky)
    async with running(job) as pool:
        await pool.enqueue_many([Hook(n=-1), Hook(n=1)])
        await eventually(lambda: job.notes.numbers() == [1])
        assert await pool.drain()
        await eventually(lambda: waits(pool, 0))
        await let_pass(A_WHILE)
        assert await words(pool) == ["idle"]
        flaky.broken = False
        assert await pool.redrive() == 1
        await eventually(lambda: words_are(pool, "completed"))
    assert job.notes.numbers() == [1, -1]


async def test_an_instance_that_was_idle_for_long_ends(running: Running, client: Client) -> None:
    job = fresh(Watched, idle_timeout=timedelta(milliseconds=300))()
    async with running(job) as pool:
        await pool.enqueue(Hook(n=1))
        await eventually(lambda: words_are(pool, "completed"))
        ended = await result_of(client, f"workerPool:{job.name}:0")
        assert ended["reason"] == "idle for 0:00:00.300000"
        assert job.notes.empty == [0]
        await pool.enqueue(Hook(n=2))
        await eventually(lambda: job.notes.numbers() == [1, 2])


async def test_terminate_drops_and_counts_what_waits_and_what_is_under_way(
    running: Running, client: Client
) -> None:
    gate = Gate()
    job = fresh(Watched, heartbeat_timeout=timedelta(milliseconds=300))(gate)
    async with running(job) as pool:
        await pool.enqueue_many([Hook(n=n) for n in range(4)])
        await eventually(lambda: job.notes.runs)
        await pool.enqueue(Hook(n=4))
        assert await pool.terminate("enough")
        ended = await result_of(client, f"workerPool:{job.name}:0")
        assert not await pool.terminate()
    assert ended == {
        "status": "terminated",
        "reason": "enough",
        "runCount": 1,
        "discardedEvents": 5,
    }


async def test_an_instance_ended_by_its_handler_begins_anew_with_what_waits(
    running: Running,
) -> None:
    async def end(run: WorkerPoolRun[Hook]) -> None:
        if run.event.n == 1:
            run.terminate("one")

    job = fresh(Watched)(end)
    async with running(job) as pool:
        await pool.enqueue_many([Hook(n=n) for n in range(4)])
        await eventually(lambda: job.notes.numbers() == [0, 1, 2, 3])
        await eventually(lambda: words_are(pool, "idle"))
    assert [run.run_count for run in job.notes.runs] == [1, 2, 1, 2]


# -- another concurrency --------------------------------------------------------------------


async def test_a_smaller_pool_loses_nothing_and_its_instances_beyond_end(
    client: Client, queue: str
) -> None:
    before = fresh(Deliver, concurrency=4)
    old = before(Flaky(final=True))
    async with running_worker(client, queue, old) as jobs:
        pool = jobs.worker_pool(before)
        for index in range(4):
            # To each instance one that fails.
            await _to(client, queue, before.name, index)
        await eventually(lambda: _failed(pool, 4))
        await pool.pause()
        await pool.enqueue_many([Hook(n=n) for n in range(20)])
        await eventually(lambda: waits(pool, 20))
    after = type("Smaller", (before,), {"concurrency": 2})
    new = after()
    async with running_worker(client, queue, new) as jobs:
        smaller: Handle = jobs.worker_pool(after)
        status = await smaller.status()
        assert (status.concurrency, [each.key for each in status.instances]) == (2, list("0123"))
        assert await smaller.resume()
        await eventually(lambda: len(new.notes.done) == 20)
        await smaller.enqueue_many([Hook(n=n) for n in range(20, 30)])
        await eventually(lambda: len(new.notes.done) == 30)
        assert {run.index for run in new.notes.runs if run.event.n >= 20} == {0, 1}
        assert await smaller.redrive(index=3) == 1
        assert await smaller.redrive() == 3
        await eventually(lambda: len(new.notes.done) == 34)
        await eventually(lambda: _ended(client, before.name, 2))
        await eventually(lambda: _ended(client, before.name, 3))
        await eventually(lambda: _listed(smaller, ["0", "1"]))
        assert await words(smaller) == ["idle", "idle"]
        await smaller.terminate()
    assert sorted(new.notes.numbers()) == sorted([*range(30), *[-1] * 4])


async def _to(client: Client, queue: str, name: str, index: int) -> None:
    await client.start_workflow(
        "WorkerPoolJob",
        {"job": name, "key": str(index)},
        id=f"workerPool:{name}:{index}",
        task_queue=queue,
        start_signal="enqueue",
        start_signal_args=[{"n": -1}],
    )


async def _failed(pool: Handle, count: int) -> bool:
    return len((await pool.status()).failed_events) == count


async def _ended(client: Client, name: str, index: int) -> bool:
    found = await client.get_workflow_handle(f"workerPool:{name}:{index}").describe()
    return found.close_time is not None


async def _listed(pool: Handle, keys: list[str]) -> bool:
    return [each.key for each in (await pool.status()).instances] == keys


async def test_idle_instances_beyond_a_smaller_pool_end_once_its_worker_starts(
    client: Client, queue: str
) -> None:
    before = fresh(Deliver)
    old = before()
    async with running_worker(client, queue, old) as jobs:
        await jobs.worker_pool(before).enqueue_many([Hook(n=n) for n in range(3)])
        await eventually(lambda: len(old.notes.done) == 3)
        await eventually(lambda: _beyond(jobs.worker_pool(before), 3))
    after = type("Smaller", (before,), {"concurrency": 1})
    async with running_worker(client, queue, after()) as jobs:
        await eventually(lambda: _ended(client, before.name, 1))
        await eventually(lambda: _ended(client, before.name, 2))
        assert await words(jobs.worker_pool(after)) == ["idle"]
        await jobs.worker_pool(after).terminate()


async def _beyond(pool: Handle, count: int) -> bool:
    # What the server lists.
    return len((await pool.status()).instances) == count


async def test_a_larger_pool_loses_nothing(client: Client, queue: str) -> None:
    before = fresh(Deliver, concurrency=1)
    async with running_worker(client, queue, before()) as jobs:
        pool = jobs.worker_pool(before)
        await pool.pause()
        await pool.enqueue_many([Hook(n=n) for n in range(10)])
        await eventually(lambda: waits(pool, 10))
    after = type("Larger", (before,), {"concurrency": 3})
    new = after()
    async with running_worker(client, queue, new) as jobs:
        larger: Handle = jobs.worker_pool(after)
        await larger.enqueue_many([Hook(n=n) for n in range(10, 19)])
        await larger.resume()
        await eventually(lambda: len(new.notes.done) == 19)
        assert {run.index for run in new.notes.runs if run.event.n >= 10} == {0, 1, 2}
        await larger.terminate()


async def test_a_client_of_a_larger_pool_is_heard_by_a_worker_of_a_smaller_one(
    client: Client, queue: str
) -> None:
    larger = fresh(Deliver, concurrency=3)
    smaller = type("Smaller", (larger,), {"concurrency": 1})
    job = smaller()
    async with running_worker(client, queue, job) as jobs:
        pool = jobs.worker_pool(larger)
        for n in range(6):
            await pool.enqueue(Hook(n=n))
        await eventually(lambda: sorted(job.notes.numbers()) == [0, 1, 2, 3, 4, 5])
        await eventually(lambda: _ended(client, larger.name, 1))
        await pool.terminate()


# -- a long life ----------------------------------------------------------------------------


async def test_a_backlog_travels_with_continue_as_new(
    running: Running, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_LETTERS", 50)
    flaky = Flaky(final=True)
    job = fresh(Watched)(flaky)
    async with running(job) as pool:
        await pool.enqueue(Hook(n=-1), id="bad")
        await eventually(lambda: job.notes.dead)
        await pool.pause()
        await pool.enqueue(Hook())
        await eventually(lambda: waits(pool, 1))
        assert await pool.clear() == 1
        await pool.enqueue_many([Hook(n=n) for n in range(1, 400)], priority=1)
        raw = client.get_workflow_handle(f"workerPool:{job.name}:0")
        await asyncio.gather(*(raw.signal("enqueue", {"n": n}) for n in range(400, 500)))
        assert await pool.drain()
        await eventually(lambda: went_on(client, f"workerPool:{job.name}:0"))
        status = await eventually(lambda: _holds(pool, 499))
        assert (status.status, status.draining, status.discarded_events) == ("paused", True, 1)
        await pool.enqueue(Hook(n=-1), id="bad")
        await pool.resume()
        await eventually(lambda: len(job.notes.done) == 499)
        flaky.broken = False
        assert await pool.redrive() == 1
        await eventually(lambda: words_are(pool, "completed"))
        ended = await result_of(client, f"workerPool:{job.name}:0")
    assert job.notes.numbers()[:399] == list(range(1, 400))
    assert sorted(job.notes.numbers()[399:]) == [-1, *range(400, 500)]
    assert [run.sequence for run in job.notes.runs[1:]] == list(range(3, 503))
    assert ended["discardedEvents"] == 1


async def _holds(pool: Handle, count: int) -> JobStatus | None:
    status = await only(pool)
    return status if status.event_count == count else None
