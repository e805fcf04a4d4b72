"""Pauses among the tracking events, and their absence for collectors that do not know them."""

from temporalio.client import Client

from durable_jobs import JobClient
from tests.support.jobs import until_status
from tests.support.lives import Tracked, paused, resumed, tracked_worker
from tests.tracking.jobs import HandleOrPause, Item, all_jobs


async def test_a_pause_from_before_any_worker_ran_is_told_after_the_start(
    client: Client, queue: str
) -> None:
    task = JobClient(client, task_queue=queue).task(HandleOrPause, f"{queue}-early")
    await task.send(Item())
    await task.pause("ann: not yet")
    async with tracked_worker(client, queue, all_jobs()) as worker:
        life = await worker.life(task.instance_id, "job.paused")
        assert life == [{"type": "job.started"}, paused(note="ann: not yet")]
        await task.resume("ann: now")
        _, _, back, *_ = await worker.life(task.instance_id, "job.executed")
        assert back == resumed(note="ann: now")


async def test_a_paused_instance_that_is_paused_again_says_so_once(worker: Tracked) -> None:
    task = worker.jobs.task(HandleOrPause, "twice")
    await task.send(Item())
    await worker.until(task.instance_id, "job.executed")
    await task.pause("first")
    await worker.until(task.instance_id, "job.paused")
    await task.pause("second")
    await task.resume("third")
    *_, one, other = await worker.life(task.instance_id, "job.resumed")
    assert (one, other) == (paused(note="first"), resumed(note="third"))


async def test_a_pause_from_before_any_worker_ran_is_not_told_among_core_types(
    client: Client, queue: str
) -> None:
    task = JobClient(client, task_queue=queue).task(HandleOrPause, f"{queue}-early-core")
    await task.send(Item())
    await task.pause("ann: not yet")
    async with tracked_worker(client, queue, all_jobs(), types="core") as worker:
        await worker.until(task.instance_id, "job.started")
        await task.resume()
        await task.terminate("enough")
        life = await worker.life(task.instance_id, "job.terminated")
        kinds = {event["type"] for event in life}
        assert kinds <= {"job.started", "job.executed", "job.terminated"}


async def test_core_types_leave_pauses_out_and_the_sequences_whole(
    client: Client, queue: str
) -> None:
    async with tracked_worker(client, queue, all_jobs(), types="core") as worker:
        task = worker.jobs.task(HandleOrPause, f"{queue}-core")
        await task.send(Item())
        await worker.until(task.instance_id, "job.executed")
        await task.pause()
        await until_status(task, "paused")
        await task.resume()
        await until_status(task, "idle")
        await task.terminate("enough")
        # `life` checks that the numbers are 1, 2, 3.
        life = await worker.life(task.instance_id, "job.terminated")
        kinds = [event["type"] for event in life]
        assert kinds == ["job.started", "job.executed", "job.terminated"]
