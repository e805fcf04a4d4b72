"""Instances that end while the collector is away share the workflows that keep their events."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecution, WorkflowHandle

from durable_jobs import DebounceJob, DebounceRun, JobClient
from durable_jobs.activities import keeping
from durable_jobs.names import DELIVER_SIGNAL, DELIVERY_WORKFLOW
from durable_jobs.protocol import FlushRequest
from durable_jobs.tracking import HttpSink, MemorySink, Tracking
from durable_jobs.tracking.sinks.base import Accepted, RetryLater, SendResult
from durable_jobs.wire import to_raw
from durable_jobs.workflows import delivery as delivery_module
from durable_jobs.workflows.flush import Flusher
from tests.jobs import running_worker, until_run
from tests.lives import WINDOW, Tracked, in_order, kinds_of, tracked_worker
from tests.support import eventually
from tests.tracked_jobs import Gather, GatherLater, Item, Rest, all_jobs
from tests.tracking.collector import Collector
from tests.tracking.helpers import event
from tests.wrong_input import NOT_JSON


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """Not there until it is started; its address is known."""
    collector = Collector()
    await collector.start()
    await collector.stop()
    yield collector
    await collector.stop()


@pytest.fixture
async def worker(client: Client, queue: str, collector: Collector) -> AsyncIterator[Tracked]:
    """Sends to the collector."""
    jobs = [*all_jobs(), Long()]
    async with tracked_worker(client, queue, jobs, sink=HttpSink(collector.url)) as worker:
        yield worker


class Long(DebounceJob[Item]):
    """Has windows that stay open until they are asked to flush."""

    name = "long"
    flush_after = timedelta(seconds=50)

    async def execute(self, run: DebounceRun[Item]) -> None:
        """Nothing."""


async def live(worker: Tracked, number: int) -> str:
    """A whole life; returns its instance."""
    window = worker.jobs.debounce(Gather, f"{worker.queue}-{number}")
    await window.add(Item())
    await worker.handle(window.instance_id).result()
    return window.instance_id


async def deliveries(worker: Tracked) -> list[WorkflowExecution]:
    query = f"TaskQueue = '{worker.queue}' AND WorkflowType = '{DELIVERY_WORKFLOW}'"
    return [run async for run in worker.client.list_workflows(query)]


async def all_arrive(collector: Collector, instances: list[str]) -> None:
    def there() -> bool:
        lives = [in_order(collector.accepted, instance) for instance in instances]
        return all(kinds_of(life) == WINDOW for life in lives)

    await eventually(there)


async def test_many_instances_share_one_delivery(worker: Tracked, collector: Collector) -> None:
    instances = await asyncio.gather(*(live(worker, number) for number in range(20)))
    [delivery] = await eventually(lambda: deliveries(worker))
    status: dict[str, Any] = await worker.handle(delivery.id).query("status")
    assert status["pending"] == 60
    assert "connect" in status["lastError"].lower()
    await collector.start()
    await all_arrive(collector, instances)
    done = await worker.handle(delivery.id).result()
    assert done == {
        "pending": 0,
        "delivered": 60,
        "rejected": 0,
        "dropped": 0,
        "lastError": None,
    }


async def test_a_delivery_that_has_enough_is_followed_by_another(
    worker: Tracked, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MOST_EVENTS", 6)
    instances = [await live(worker, number) for number in range(6)]
    found = await eventually(lambda: deliveries(worker))
    sizes = [(await worker.handle(run.id).query("status"))["pending"] for run in found]
    assert sorted(sizes) == [6, 6, 6]
    await collector.start()
    await all_arrive(collector, instances)


async def test_where_events_cannot_be_kept_the_instance_has_a_delivery_of_its_own(
    worker: Tracked, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: Any) -> None:
        raise TimeoutError

    monkeypatch.setattr(keeping, "signal", fails)
    instance = await live(worker, 0)
    [delivery] = await eventually(lambda: deliveries(worker))
    assert delivery.parent_id == instance
    await collector.start()
    await all_arrive(collector, [instance])


async def test_what_may_or_may_not_have_been_kept_is_kept_by_others_and_counts_as_full(
    worker: Tracked, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal, lost = keeping.signal, iter([True])

    async def answers(*arguments: Any) -> None:
        await signal(*arguments)
        if next(lost, False):
            raise TimeoutError

    monkeypatch.setattr(keeping, "signal", answers)
    instances = [await live(worker, number) for number in range(2)]

    async def three() -> list[WorkflowExecution]:
        found = await deliveries(worker)
        return found if len(found) == 3 else []

    found = await eventually(three)
    assert sorted(run.parent_id or "" for run in found) == ["", "", instances[0]]
    sizes = [(await worker.handle(run.id).query("status"))["pending"] for run in found]
    assert sizes == [3, 3, 3]
    await collector.start()
    await all_arrive(collector, instances)


async def test_ends_wait_no_longer_where_many_wait_for_a_silent_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def silent(*_: Any) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(keeping, "signal", silent)
    monkeypatch.setattr(keeping, "_PATIENCE", 0.2)
    keeper = keeping.Keeper("a queue")
    too_large_to_share = [{"eventId": "1", "reason": "x" * keeping.MOST_BYTES}]
    # One after the other they would take 20 s.
    async with asyncio.timeout(5):
        kept = await asyncio.gather(*(keeper.keep(too_large_to_share) for _ in range(100)))
    assert not any(kept)


async def test_a_delivery_that_is_cancelled_goes_on(worker: Tracked, collector: Collector) -> None:
    instance = await live(worker, 0)
    [delivery] = await eventually(lambda: deliveries(worker))
    handle = worker.handle(delivery.id)
    await handle.cancel()
    assert (await handle.query("status"))["pending"] == 3
    await collector.start()
    await all_arrive(collector, [instance])
    assert (await handle.result())["delivered"] == 3


async def test_an_event_that_fails_for_ever_holds_up_none_that_its_delivery_gets_later(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(MemorySink):
        async def send(self, events: Sequence[Any]) -> SendResult:
            if any(event["jobName"] == Gather.name for event in events):
                return RetryLater("it fails for these")
            return await super().send(events)

    monkeypatch.setattr(delivery_module, "PATIENCE", timedelta(seconds=0.1))
    sink = Failing()
    async with tracked_worker(client, queue, all_jobs(), sink=sink) as worker:
        await live(worker, 0)
        [delivery] = await eventually(lambda: deliveries(worker))
        handle = worker.handle(delivery.id)
        for number in (1, 2):
            later = FlushRequest(events=[event(number)])
            await handle.signal(DELIVER_SIGNAL, to_raw(later))
            await eventually(lambda: len(sink.events) == number)  # noqa: B023
        await eventually(lambda: delivered(handle, 2))
        assert (await handle.query("status"))["pending"] == 3


async def delivered(delivery: WorkflowHandle[Any, Any], count: int) -> bool:
    return (await delivery.query("status"))["delivered"] == count


async def test_events_that_are_handed_over_twice_are_delivered_once(
    worker: Tracked, collector: Collector
) -> None:
    instance = await live(worker, 0)
    [delivery] = await eventually(lambda: deliveries(worker))
    handle = worker.handle(delivery.id)
    history = await handle.fetch_history()
    [given] = [
        event.workflow_execution_signaled_event_attributes.input.payloads[0].data
        for event in history.events
        if event.HasField("workflow_execution_signaled_event_attributes")
    ]
    again = FlushRequest.model_validate_json(given)
    await handle.signal(DELIVER_SIGNAL, to_raw(again))
    await collector.start()
    await all_arrive(collector, [instance])
    assert (await handle.result())["delivered"] == 3


async def test_flushes_that_broke_off_are_logged_and_the_instance_goes_on(
    client: Client,
    queue: str,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def breaks(*_: Any) -> None:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(Flusher, "_deliver", breaks)
    tracking = Tracking(HttpSink(collector.url))
    async with running_worker(client, queue, Rest(), tracking=tracking) as jobs:
        poll = jobs.continuous(Rest, queue)
        with caplog.at_level(logging.ERROR, "temporalio.workflow"):
            await poll.start()
            await eventually(lambda: "nobody thought of this" in caplog.text)
        await collector.start()
        await poll.trigger()
        await until_run(poll, 1)
        await poll.terminate()
        kinds = ["job.started", "job.executed", "job.terminated"]
        await eventually(lambda: kinds_of(in_order(collector.accepted, poll.instance_id)) == kinds)


async def test_the_last_error_of_a_delivery_is_that_of_its_last_refused_event(
    client: Client, queue: str
) -> None:
    class Refusing(MemorySink):
        there = False

        async def send(self, events: Sequence[Any]) -> SendResult:
            if not self.there:
                return RetryLater("not there yet")
            return Accepted({event["eventId"]: f"no {event['type']}" for event in events})

    sink = Refusing()
    async with tracked_worker(client, queue, all_jobs(), sink=sink) as worker:
        await live(worker, 0)
        [delivery] = await eventually(lambda: deliveries(worker))
        sink.there = True
        done = await worker.handle(delivery.id).result()
    assert (done["rejected"], done["lastError"]) == (3, f"no {WINDOW[-1]}")


async def test_a_signal_that_brings_no_events_holds_up_none_of_those_that_wait(
    worker: Tracked, collector: Collector
) -> None:
    instance = await live(worker, 0)
    [delivery] = await eventually(lambda: deliveries(worker))
    handle = worker.handle(delivery.id)
    for argument in (*NOT_JSON.values(), 5, {}, {"events": 5}, {"events": [5]}):
        await handle.signal(DELIVER_SIGNAL, argument)
    await handle.signal(DELIVER_SIGNAL)
    await handle.signal(DELIVER_SIGNAL, args=[5, {"events": []}])
    await handle.signal(DELIVER_SIGNAL, {"events": [{}, {"eventId": 5}, {"eventId": None}]})
    await handle.signal("explode", {"events": []})
    assert (await handle.query("status"))["pending"] == 3
    await collector.start()
    await all_arrive(collector, [instance])
    assert (await handle.result())["delivered"] == 3


async def history_of(worker: Tracked, instance: str) -> list[str]:
    history = await worker.handle(instance).fetch_history()
    return [str(event.WhichOneof("attributes")) for event in history.events]


async def live_long(worker: Tracked, collector: Collector, key: str, *, there: bool) -> str:
    """A window that is flushed by hand once its beginning was told, or could not be."""
    window = worker.jobs.debounce(Long, key)
    await window.add(Item())
    instance = window.instance_id
    if there:
        await eventually(lambda: kinds_of(in_order(collector.accepted, instance))[:1] == WINDOW[:1])
    else:
        await eventually(lambda: waits(worker, instance))
    await window.flush()
    await worker.handle(instance).result()
    return instance


@pytest.mark.parametrize("there", [True, False])
async def test_a_long_window_s_tracking_costs_at_most_one_event_of_history(
    worker: Tracked, collector: Collector, there: bool
) -> None:
    if there:
        await collector.start()
    instances: list[str] = []
    kinds: list[str] = []
    # The first request of a process is late for an end, and so may any be on a busy machine.
    while len(instances) < 100 and kinds.count("marker_recorded_event_attributes") != 2 - there:
        key = f"{worker.queue}-{len(instances)}"
        instances.append(await live_long(worker, collector, key, there=there))
        kinds = await history_of(worker, instances[-1])
    # One tells the options, and what the window begins with goes along; the other is of what a
    # task that ends cannot deliver.
    assert kinds.count("marker_recorded_event_attributes") == 2 - there
    assert kinds.count("activity_task_scheduled_event_attributes") == 1
    if not there:
        await collector.start()
    await all_arrive(collector, instances)


async def waits(worker: Tracked, instance: str) -> bool:
    tracking = (await worker.handle(instance).query("status"))["tracking"]
    return tracking["pending"] == 1 and tracking["lastError"] is not None


async def test_what_a_long_window_began_with_arrives_while_it_is_open(
    worker: Tracked, collector: Collector
) -> None:
    window = worker.jobs.debounce(Long, worker.queue)
    await window.add(Item())
    await eventually(lambda: waits(worker, window.instance_id))
    await collector.start()
    await eventually(
        lambda: kinds_of(in_order(collector.accepted, window.instance_id)) == WINDOW[:1]
    )
    status = await window.status()
    assert status is not None
    assert status.status == "debouncing"
    await window.flush()
    await all_arrive(collector, [window.instance_id])


async def ended_unseen(client: Client, queue: str) -> WorkflowHandle[Any, Any]:
    """A window that is terminated while no worker runs."""
    window = JobClient(client, task_queue=queue).debounce(Long, queue)
    await window.add(Item())
    handle = client.get_workflow_handle(window.instance_id)
    await handle.signal("terminate", "never mind")
    return handle


async def test_a_window_that_was_ended_before_a_worker_saw_it_is_told_of_first(
    client: Client, queue: str
) -> None:
    handle = await ended_unseen(client, queue)
    async with tracked_worker(client, queue, [Long()]) as worker:
        life = await worker.life(handle.id, "debounce.started", "job.terminated")
    assert life[-1]["discardedEvents"] == 1


async def test_each_window_of_a_first_task_is_told_of(client: Client, queue: str) -> None:
    handle = await ended_unseen(client, queue)
    await handle.signal("add", {"n": 2})
    async with tracked_worker(client, queue, [Long()]) as worker:
        life = await worker.life(
            handle.id, "debounce.started", "job.terminated", "debounce.started"
        )
        await worker.jobs.debounce(Long, queue).terminate()
        await worker.until(handle.id, "debounce.started", "job.terminated")
    assert len(life) == 3


async def test_what_follows_a_long_window_s_start_leaves_by_no_activity_of_its_own(
    client: Client, queue: str
) -> None:
    async with tracked_worker(client, queue, [GatherLater()]) as worker:
        window = worker.jobs.debounce(GatherLater, queue)
        await window.add(Item(fail=1))
        await worker.until(window.instance_id, "debounce.started")
        await window.flush()
        await worker.until(window.instance_id, "debounce.flushed")
        history = await worker.handle(window.instance_id).fetch_history()
    scheduled = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert scheduled == ["gather-later.execute"]
