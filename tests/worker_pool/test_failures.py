"""What becomes of events whose handler fails."""

from datetime import timedelta

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from durable_jobs import JobStatus, NonRetryable, Retry, RunFailure, WorkerPoolRun
from tests.support import eventually
from tests.support.jobs import at_most, running_worker
from tests.worker_pool.conftest import Handle, Running
from tests.worker_pool.jobs import Deliver, Flaky, Gate, Hook, Watched, fresh

AN_HOUR = timedelta(hours=1)
HOURLY = Retry(3, initial=AN_HOUR, maximum=AN_HOUR, backoff="fixed", jitter=False)


async def only(pool: Handle) -> JobStatus:
    """The status of the pool's one instance."""
    [instance] = (await pool.status()).instances
    return instance


async def test_a_failing_event_is_tried_again_under_its_key_before_those_behind_it(
    running: Running,
) -> None:
    async def twice(run: WorkerPoolRun[Hook]) -> None:
        if run.event.n == 2 and run.attempt < 3:
            raise ConnectionError("not yet")

    job = fresh(Watched)(twice)
    async with running(job) as pool:
        await pool.enqueue_many([Hook(n=n) for n in range(1, 6)])
        await eventually(lambda: len(job.notes.done) == 5)
        status = await eventually(lambda: _settled(pool))
    assert job.notes.numbers() == [1, 2, 3, 4, 5]
    attempts = [(run.event.n, run.attempt, run.run_count) for run in job.notes.runs]
    assert attempts == [(1, 1, 1), (2, 1, 2), (2, 2, 2), (2, 3, 2), (3, 1, 3), (4, 1, 4), (5, 1, 5)]
    assert len({run.idempotency_key for run in job.notes.runs if run.event.n == 2}) == 1
    assert (status.handled_events, status.failed_events, status.last_error) == (5, (), None)


async def _settled(pool: Handle) -> JobStatus | None:
    status = await only(pool)
    return status if status.status in ("idle", "paused") and not status.event_count else None


async def test_an_event_that_failed_for_good_is_kept_and_the_others_go_on(
    running: Running,
) -> None:
    flaky = Flaky()
    job = fresh(Watched)(flaky)
    async with running(job) as pool:
        await pool.enqueue(Hook(n=-1), id="bad", priority=3)
        await pool.enqueue(Hook(n=1))
        await eventually(lambda: job.notes.numbers() == [1])
        status = await eventually(lambda: _settled(pool))
        assert (status.handled_events, len(status.failed_events)) == (1, 1)
        [failed] = (await pool.status()).failed_events
        assert (failed["id"], failed["attempts"], failed["priority"]) == ("bad", 3, 3)
        assert "no receiver for -1" in failed["error"]
        [(event, error)] = job.notes.dead
        assert (event, error.attempts, error.handler) == (Hook(n=-1), 3, "execute")
        assert (error.type, error.event) == ("ConnectionError", {"to": "a", "n": -1})

        flaky.broken = False
        assert await pool.redrive("other") == 0
        assert await pool.redrive("bad") == 1
        await eventually(lambda: job.notes.numbers() == [1, -1])
        assert job.notes.runs[-1].priority == 3
        status = await eventually(lambda: _settled(pool))
    assert (status.handled_events, status.failed_events, status.last_error) == (2, (), None)


async def test_redrive_brings_failed_events_of_all_instances_back(running: Running) -> None:
    flaky = Flaky(final=True)
    job = fresh(Deliver)(flaky)
    async with running(job) as pool:
        await pool.enqueue_many([Hook(n=-n) for n in range(1, 7)])
        await eventually(lambda: _failed(pool, 6))
        flaky.broken = False
        assert await pool.redrive(index=0) == 2
        assert await pool.redrive() == 4
        await eventually(lambda: len(job.notes.done) == 6)
        assert await pool.redrive() == 0


async def _failed(pool: Handle, count: int) -> bool:
    return len((await pool.status()).failed_events) == count


async def test_on_dead_letter_is_tried_again_too_and_its_failure_keeps_the_event(
    running: Running,
) -> None:
    class Unheard(Watched):
        async def on_dead_letter(self, run: WorkerPoolRun[Hook], error: RunFailure) -> None:
            await super().on_dead_letter(run, error)
            raise OSError("nobody listens")

    job = fresh(Unheard)(Flaky(final=True))
    async with running(job) as pool:
        await pool.enqueue(Hook(n=-1))
        await eventually(lambda: _failed(pool, 1))
        [failed] = (await pool.status()).failed_events
    assert len(job.notes.dead) == 3
    assert failed["error"].endswith("no receiver for -1")


async def test_a_dead_letter_handler_can_end_the_instance(running: Running) -> None:
    class Strict(Watched):
        async def on_dead_letter(self, run: WorkerPoolRun[Hook], error: RunFailure) -> None:
            run.terminate("one failed")

    job = fresh(Strict)(Flaky(final=True))
    async with running(job) as pool:
        await pool.enqueue(Hook(n=-1))
        status = await eventually(lambda: _ended(pool))
    assert (status.status, status.discarded_events) == ("terminated", 1)


async def _ended(pool: Handle) -> JobStatus | None:
    status = await only(pool)
    return status if status.status in ("terminated", "completed", "failed") else None


async def test_a_pool_may_pause_at_a_failed_event_and_take_it_up_again(running: Running) -> None:
    flaky = Flaky(final=True)
    job = fresh(Watched, on_exhausted="pause")(flaky)
    async with running(job) as pool:
        await pool.enqueue_many([Hook(n=-1), Hook(n=2)])
        status = await eventually(lambda: _paused(pool))
        assert (status.paused_by, status.event_count) == ("exhausted", 2)
        flaky.broken = False
        assert await pool.resume()
        await eventually(lambda: job.notes.numbers() == [-1, 2])


async def _paused(pool: Handle) -> JobStatus | None:
    status = await only(pool)
    return status if status.status == "paused" else None


async def test_a_pool_may_end_an_instance_at_a_failed_event(
    running: Running, client: Client
) -> None:
    job = fresh(Watched, on_exhausted="terminate", retry=at_most(2))(Flaky())
    async with running(job) as pool:
        await pool.pause()
        await pool.enqueue_many([Hook(n=-1), Hook(n=2)])
        await pool.resume()
        with pytest.raises(WorkflowFailureError) as ended:
            await client.get_workflow_handle(f"workerPool:{job.name}:0").result()
        status = await only(pool)
    assert "Retry exhausted after 2 attempts" in str(ended.value.cause)
    assert (status.status, status.discarded_events) == ("failed", 2)


async def test_an_event_that_does_not_fit_is_rejected_without_a_run(
    running: Running, client: Client
) -> None:
    job = fresh(Watched)()
    async with running(job) as pool:
        await pool.enqueue(Hook(n=1))
        raw = client.get_workflow_handle(f"workerPool:{job.name}:0")
        await raw.signal("enqueue", {"n": "many"})
        await raw.signal("enqueue_batch", {"events": [{"data": {"n": 2}, "priority": "high"}]})
        await eventually(lambda: _rejected(pool, 2))
        await pool.enqueue(Hook(n=3))
        await eventually(lambda: job.notes.numbers() == [1, 3])
        status = await eventually(lambda: _settled(pool))
    assert (status.run_count - len(job.notes.empty), status.handled_events) == (2, 2)
    reasons = sorted(each.reason for each in status.rejections)
    assert ["priority" in reason for reason in reasons] == [True, False]


async def _rejected(pool: Handle, count: int) -> bool:
    return (await pool.status()).rejected_events == count


@pytest.mark.parametrize("verb", ["trigger", "resume"])
async def test_an_order_ends_a_backoff_at_once(running: Running, verb: str) -> None:
    flaky = Flaky()
    job = fresh(Watched, retry=HOURLY)(flaky)
    async with running(job) as pool:
        await pool.enqueue(Hook(n=-1))
        status = await eventually(lambda: _retrying(pool))
        assert status.next_run_at is not None
        flaky.broken = False
        assert await getattr(pool, verb)()
        await eventually(lambda: job.notes.done)
    assert [run.attempt for run in job.notes.runs] == [1, 2]
    assert len({run.idempotency_key for run in job.notes.runs}) == 1
    assert {run.run_count for run in job.notes.runs} == {1}


async def _retrying(pool: Handle) -> JobStatus | None:
    status = await only(pool)
    return status if status.status == "retrying" and status.attempt == 2 else None


async def test_on_empty_is_called_once_the_queue_has_run_dry(running: Running) -> None:
    gate = Gate()
    job = fresh(Watched)(gate)
    async with running(job) as pool:
        await pool.enqueue_many([Hook(n=n) for n in range(5)])
        await eventually(lambda: job.notes.runs)
        assert job.notes.empty == []
        gate.opened.set()
        await eventually(lambda: job.notes.empty == [0])
        assert len(job.notes.done) == 5
        await pool.enqueue(Hook(n=9))
        await eventually(lambda: job.notes.empty == [0, 0])


async def test_an_on_empty_that_fails_does_not_stop_the_pool(running: Running) -> None:
    class Empty(Watched):
        async def on_empty(self, run: WorkerPoolRun[None]) -> None:
            await super().on_empty(run)
            raise NonRetryable("no")

    job = fresh(Empty)()
    async with running(job) as pool:
        await pool.enqueue(Hook(n=1))
        await eventually(lambda: len(job.notes.empty) == 1)
        await pool.enqueue(Hook(n=2))
        await eventually(lambda: len(job.notes.empty) == 2)
    assert job.notes.numbers() == [1, 2]


async def test_no_instance_can_have_a_key_that_is_no_index(client: Client, queue: str) -> None:
    job = fresh(Watched)
    for key in ("first", "01", "1000", "-1", "٣"):
        handle = await client.start_workflow(
            "WorkerPoolJob",
            {"job": job.name, "key": key},
            id=f"workerPool:{job.name}:{key}",
            task_queue=queue,
        )
        assert handle is not None
    async with running_worker(client, queue, job()):
        for key in ("first", "01", "1000", "-1", "٣"):
            with pytest.raises(WorkflowFailureError) as refused:
                await client.get_workflow_handle(f"workerPool:{job.name}:{key}").result()
            assert "its index, 0 to 999" in str(refused.value.cause)
    with pytest.raises(RPCError):
        await client.get_workflow_handle(f"workerPool:{job.name}:0").describe()
