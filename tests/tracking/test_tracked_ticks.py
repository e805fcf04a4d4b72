"""The tracking events of whole lives of a continuous job, field by field."""

from temporalio.client import Client

from durable_jobs import ContinuousRun, JobClient
from tests.support.lives import (
    EXHAUSTED,
    Tracked,
    executed,
    failed,
    failed_for_good,
    paused,
    resumed,
    stack_of,
    terminated,
    tracked_worker,
)
from tests.tracking.jobs import (
    Basket,
    Beat,
    BeatOrEnd,
    BeatOrPause,
    Handle,
    Item,
    Rest,
    Unlucky,
    all_jobs,
)


class Verbose(Beat):
    """Ends for a reason that no request could carry."""

    name = "verbose"

    async def execute(self, run: ContinuousRun[Basket]) -> None:
        run.terminate("why " * 500_000)


async def test_the_end_is_told_however_long_a_run_s_reason_is(client: Client, queue: str) -> None:
    async with tracked_worker(client, queue, [Verbose()]) as worker:
        poll = worker.jobs.continuous(Verbose, queue)
        await poll.start()
        life = await worker.life(poll.instance_id, "job.terminated")
    assert life[-1] == terminated("why " * 250, 1)


async def test_ticks_are_tracked_from_start_to_end(worker: Tracked) -> None:
    poll = worker.jobs.continuous(Beat, "normal")
    await poll.start(Basket(total=3))
    life = await worker.life(poll.instance_id, "job.terminated")
    assert life == [
        {"type": "job.started"},
        executed(1),
        executed(2),
        executed(3),
        terminated("done", 3),
    ]


async def test_each_failed_attempt_of_a_tick_is_tracked_with_its_error(worker: Tracked) -> None:
    poll = worker.jobs.continuous(Beat, "retried")
    await poll.start(Basket(total=3, fail=2))
    life = await worker.life(poll.instance_id, "job.terminated")
    assert life == [
        {"type": "job.started"},
        executed(1),
        failed(2, 1, again=True),
        failed(2, 2, again=True),
        executed(2, attempt=3),
        executed(3),
        terminated("done", 3),
    ]


async def test_an_exhausted_tick_is_followed_by_the_next_one(worker: Tracked) -> None:
    poll = worker.jobs.continuous(Beat, "exhausted")
    await poll.start(Basket(total=2, fail=3))
    life = await worker.life(poll.instance_id, "job.terminated")
    assert life == [
        {"type": "job.started"},
        executed(1),
        *failed_for_good(2),
        executed(3),
        terminated("done", 3),
    ]


async def test_an_exhausted_tick_that_pauses_is_tracked_until_it_is_resumed(
    worker: Tracked,
) -> None:
    poll = worker.jobs.continuous(BeatOrPause, "exhausted")
    await poll.start(Basket(total=2, fail=3))
    await worker.until(poll.instance_id, "job.paused")
    await poll.resume("bob: the disk has room again")
    life = await worker.life(poll.instance_id, "job.terminated")
    assert life == [
        {"type": "job.started"},
        executed(1),
        *failed_for_good(2),
        paused("exhausted"),
        resumed(note="bob: the disk has room again"),
        executed(3),
        terminated("done", 3),
    ]


async def test_an_exhausted_tick_can_end_its_job(worker: Tracked) -> None:
    poll = worker.jobs.continuous(BeatOrEnd, "exhausted")
    await poll.start(Basket(total=9, fail=3))
    life = await worker.life(poll.instance_id, "job.terminated")
    assert life == [
        {"type": "job.started"},
        executed(1),
        *failed_for_good(2),
        terminated(EXHAUSTED, 2),
    ]


async def test_retries_that_took_too_long_are_exhausted_by_duration(worker: Tracked) -> None:
    poll = worker.jobs.continuous(Unlucky, "long")
    await poll.start()
    await poll.trigger()
    life = await worker.life(poll.instance_id, "job.retryExhausted")
    error = {"message": "KeyError: 'never'", "stack": stack_of("execute", "KeyError: 'never'")}
    failures = life[1:-1]
    count = len(failures)
    assert count > 1
    assert life[0] == {"type": "job.started"}
    assert failures == [
        {**failed(1, number, again=number < count), "error": error}
        for number in range(1, count + 1)
    ]
    assert life[-1] == {"type": "job.retryExhausted", "attempts": count, "reason": "max_duration"}
    await poll.terminate()


async def test_terminating_a_continuous_job_gives_the_callers_reason(worker: Tracked) -> None:
    poll = worker.jobs.continuous(Rest, "terminated")
    await poll.start()
    await poll.terminate("no longer needed")
    life = await worker.life(poll.instance_id, "job.terminated")
    assert life == [{"type": "job.started"}, terminated("no longer needed", 0)]


async def test_a_triggered_run_is_tracked_as_any_other(worker: Tracked) -> None:
    poll = worker.jobs.continuous(Rest, "triggered")
    await poll.start()
    await poll.trigger()
    await worker.until(poll.instance_id, "job.executed")
    await worker.handle(poll.instance_id).cancel()
    life = await worker.life(poll.instance_id, "job.terminated")
    assert life == [{"type": "job.started"}, executed(1), terminated("cancelled", 1)]


async def test_an_instance_that_ends_before_its_first_task_is_tracked_all_the_same(
    client: Client, queue: str
) -> None:
    jobs = JobClient(client, task_queue=queue)
    poll, task = jobs.continuous(Rest, queue), jobs.task(Handle, queue)
    await poll.start()
    await poll.terminate("too late")
    await task.send(Item())
    await task.terminate("too late")
    async with tracked_worker(client, queue, all_jobs()) as worker:
        life = await worker.life(poll.instance_id, "job.terminated")
        assert life == [{"type": "job.started"}, terminated("too late", 0)]
        life = await worker.life(task.instance_id, "job.terminated")
        assert life == [{"type": "job.started"}, terminated("too late", 0, discarded=1)]
