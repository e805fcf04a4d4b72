"""Instances that Temporal's terminate or a time-out ended, and what `reconcile` says for them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from temporalio.client import Client

from durable_jobs import JobClient
from durable_jobs.protocol import Reconciled
from durable_jobs.tracking import HttpSink, NoopSink
from tests.support import Python, eventually
from tests.support.lives import (
    Event,
    Tracked,
    check_common,
    in_order,
    kinds_of,
    reset_to_task,
    specific,
    started,
    terminated,
    tracked_worker,
)
from tests.support.reconciling import ROOT, Later, asked, command, listed, reconcile, recorded
from tests.tracking.collector import Answer, Collector
from tests.tracking.jobs import Gather, Handle, Item, Rest, all_jobs


@pytest.fixture
async def worker(client: Client, queue: str) -> AsyncIterator[Tracked]:
    async with tracked_worker(client, queue, [*all_jobs(), Later()]) as worker:
        yield worker


async def test_a_window_that_was_ended_from_outside_is_told_to_have_ended(worker: Tracked) -> None:
    digest = worker.jobs.debounce(Later, worker.queue)
    await digest.add(Item())
    await digest.add(Item())
    await worker.until(digest.instance_id, "debounce.started")
    await worker.handle(digest.instance_id).terminate(reason="wrong repository")
    found = await reconcile(worker.client, worker.queue)
    assert found.delivered == [digest.instance_id]
    # It may have been ended before its first workflow task was over.
    life = await worker.life(digest.instance_id, "debounce.started", "job.terminated")
    assert life == [started(), terminated("wrong repository", 0, 2)]


async def test_to_reconcile_again_does_nothing(worker: Tracked) -> None:
    task = worker.jobs.task(Handle, worker.queue)
    await task.send(Item())
    await worker.until(task.instance_id, "job.executed")
    await worker.handle(task.instance_id).terminate()
    await reconcile(worker.client, worker.queue)
    life = await worker.life(task.instance_id, "job.terminated")
    assert life[-1] == terminated("terminated by user via frontend", 1)
    again = await reconcile(worker.client, worker.queue)
    assert again == Reconciled(before=1)


async def test_two_that_reconcile_at_once_tell_the_same(worker: Tracked) -> None:
    poll = worker.jobs.continuous(Rest, worker.queue)
    await poll.start()
    await worker.until(poll.instance_id, "job.started")
    await worker.handle(poll.instance_id).terminate(reason="twice")
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(reconcile(worker.client, worker.queue))
    life = await worker.life(poll.instance_id, "job.started", "job.terminated")
    assert life[-1] == terminated("twice", 0)


async def test_what_an_instance_had_not_delivered_arrives_with_its_end(
    client: Client, queue: str, collector: Collector
) -> None:
    collector.behaviour = lambda _: Answer(503)
    async with tracked_worker(client, queue, all_jobs(), sink=HttpSink(collector.url)) as worker:
        poll = worker.jobs.continuous(Rest, queue)
        await poll.start()
        await poll.trigger()
        await eventually(lambda: ran_once(worker, poll.instance_id))
        await worker.handle(poll.instance_id).terminate(reason="during an outage")
        await reconcile(client, queue)
        collector.behaviour = lambda _: Answer()
        kinds = ["job.started", "job.executed", "job.terminated"]
        events = await eventually(lambda: arrived(collector, poll.instance_id, kinds))
        await check_common(client, poll.instance_id, events)


async def ran_once(worker: Tracked, instance_id: str) -> bool:
    status = await worker.handle(instance_id).query("status")
    return (status["runCount"], status["status"]) == (1, "scheduled")


def arrived(collector: Collector, instance_id: str, kinds: list[str]) -> list[Event]:
    events = in_order(collector.accepted, instance_id)
    return events if kinds_of(events) == kinds else []


async def test_a_run_time_out_ends_an_instance_too(worker: Tracked) -> None:
    instance_id = f"continuous:rest:{worker.queue}"
    await worker.client.start_workflow(
        "ContinuousJob",
        {"job": "rest", "key": worker.queue},
        id=instance_id,
        task_queue=worker.queue,
        run_timeout=timedelta(seconds=1),
    )
    await worker.until(instance_id, "job.started")
    await reconcile(worker.client, worker.queue)
    life = await worker.life(instance_id, "job.terminated")
    assert life == [{"type": "job.started"}, terminated("run time-out", 0)]


async def test_an_instance_that_ended_before_any_worker_saw_it_is_told_of(
    client: Client, queue: str
) -> None:
    jobs = JobClient(client, task_queue=queue)
    digest, task = jobs.debounce(Later, queue), jobs.task(Handle, queue)
    await digest.add(Item())
    await digest.add_many([Item(), Item()])
    await task.send(Item())
    for instance in (digest, task):
        await client.get_workflow_handle(instance.instance_id).terminate(reason="never mind")
    assert (await reconcile(client, queue, 2, identity=None)).nothing == 2
    found = await reconcile(client, queue, 2)
    assert set(found.delivered) == {digest.instance_id, task.instance_id}
    async with tracked_worker(client, queue, [*all_jobs(), Later()]) as worker:
        life = await worker.life(digest.instance_id, "job.terminated")
        assert life == [{"type": "debounce.started"}, terminated("never mind", 0, 3)]
        life = await worker.life(task.instance_id, "job.terminated")
        assert life == [{"type": "job.started"}, terminated("never mind", 0, 1)]


async def test_events_that_no_worker_saw_any_more_count_as_discarded(
    client: Client, queue: str
) -> None:
    jobs = JobClient(client, task_queue=queue)
    digest = jobs.debounce(Later, queue)
    async with tracked_worker(client, queue, [Later()]) as worker:
        await digest.add(Item())
        await worker.until(digest.instance_id, "debounce.started")
    await digest.add(Item())
    await digest.add(Item())
    await client.get_workflow_handle(digest.instance_id).terminate(reason="too late")
    async with tracked_worker(client, queue, [Later()]) as worker:
        await reconcile(client, queue)
        # It has the sequence after that of the first worker's event.
        [end] = await eventually(lambda: worker.sent(digest.instance_id))
    assert end["sequence"] == 2
    assert specific(end) == terminated("too late", 0, 3)


async def test_an_execution_that_a_reset_replaced_has_not_ended(worker: Tracked) -> None:
    poll = worker.jobs.continuous(Rest, worker.queue)
    await poll.start()
    await poll.trigger()

    async def delivered() -> bool:
        status = await poll.status()
        return status is not None and status.tracking.delivered == 2

    # An event may arrive before the server has the task that settles it.
    await eventually(delivered)
    await reset_to_task(worker, poll.instance_id, 1)
    found = await reconcile(worker.client, worker.queue)
    assert found == Reconciled(nothing=1)
    await poll.terminate()
    await worker.until(poll.instance_id, "job.terminated")


async def test_an_untracked_instance_has_nothing_to_say(client: Client, queue: str) -> None:
    async with tracked_worker(client, queue, all_jobs(), sink=NoopSink()) as worker:
        poll = worker.jobs.continuous(Rest, queue)
        await poll.start()
        await asked(client, poll.instance_id)
        await worker.handle(poll.instance_id).terminate()
        assert await reconcile(client, queue) == Reconciled(nothing=1)


async def test_a_delivery_that_was_ended_from_outside_is_begun_again(
    client: Client, queue: str, collector: Collector
) -> None:
    collector.behaviour = lambda _: Answer(503)
    async with tracked_worker(client, queue, all_jobs(), sink=HttpSink(collector.url)) as worker:
        digest = worker.jobs.debounce(Gather, queue)
        await digest.add(Item())
        await worker.handle(digest.instance_id).result()
        query = f"TaskQueue = '{queue}' AND WorkflowType = 'TrackingDelivery'"
        [delivery] = await eventually(lambda: ids(client, query))
        await worker.handle(delivery).terminate()
        assert (await reconcile(client, queue)).delivered == [delivery]
        collector.behaviour = lambda _: Answer()
        kinds = ["debounce.started", "job.executed", "debounce.flushed"]
        await eventually(lambda: arrived(collector, digest.instance_id, kinds))


async def ids(client: Client, query: str) -> list[str]:
    return [run.id async for run in client.list_workflows(query)]


async def test_an_instance_that_no_worker_can_read_is_left_for_the_next_time(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable_jobs.activities.reconcile._ANSWER_TIME", timedelta(seconds=1))
    async with tracked_worker(client, queue, all_jobs()) as worker:
        poll = worker.jobs.continuous(Rest, queue)
        await poll.start()
        await recorded(client, poll.instance_id)
    await client.get_workflow_handle(poll.instance_id).terminate()
    found = await reconcile(client, queue)
    assert found.delivered == []
    assert "no worker of the task queue" in found.failed[poll.instance_id]


async def test_the_command_says_what_it_found(worker: Tracked) -> None:
    poll = worker.jobs.continuous(Rest, worker.queue)
    await poll.start()
    await asked(worker.client, poll.instance_id)
    await worker.handle(poll.instance_id).terminate()
    await listed(worker.client, worker.queue)
    for says in ("1 now being delivered", "1 done before"):
        with command(worker.client, worker.queue, "--since", "1h") as process:
            assert await process.exit_code() == 0
            assert says in process.text
        await worker.until(poll.instance_id, "job.terminated")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--since", "tomorrow"), "--since 'tomorrow'"),
        (("--since", "0h"), "--since '0h'"),
        (("--every", "5"), "--every '5'"),
    ],
)
async def test_a_wrong_option_is_named(
    client: Client, queue: str, options: tuple[str, ...], says: str
) -> None:
    with command(client, queue, *options) as process:
        assert await process.exit_code() == 2
        assert says in process.text
        assert "Traceback" not in process.text


async def test_without_a_server_the_command_names_the_address(client: Client, queue: str) -> None:
    with Python(
        *("-m", "durable_jobs.cli", "reconcile"), cwd=ROOT, TEMPORAL_ADDRESS="127.0.0.1:1"
    ) as process:
        assert await process.exit_code(within=30) == 1
        assert "127.0.0.1:1" in process.text


@pytest.mark.parametrize("options", [(), ("--every", "1h")])
async def test_a_namespace_that_is_not_there_is_told_in_one_line(
    client: Client, queue: str, options: tuple[str, ...]
) -> None:
    with command(client, queue, *options, TEMPORAL_NAMESPACE="nope") as process:
        assert await process.exit_code() == 1
        await eventually(lambda: "could not reconcile: Namespace nope is not found" in process.text)
        assert len(process.output) == 1


async def test_a_schedule_reconciles_by_itself_and_can_be_changed(worker: Tracked) -> None:
    for every in ("1h", "1s"):
        with command(worker.client, worker.queue, "--every", every) as process:
            assert await process.exit_code() == 0, process.text
    schedule = worker.client.get_schedule_handle(f"durable-jobs-reconcile:{worker.queue}")
    try:
        poll = worker.jobs.continuous(Rest, worker.queue)
        await poll.start()
        await worker.until(poll.instance_id, "job.started")
        await worker.handle(poll.instance_id).terminate(reason="seen by a schedule")
        life = await worker.life(poll.instance_id, "job.terminated")
        assert life[-1] == terminated("seen by a schedule", 0)
    finally:
        await schedule.delete()
