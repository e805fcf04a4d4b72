"""Instances hand their events over while the collector is away, and share who delivers them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecution, WorkflowHandle

from durable_jobs import DebounceJob, DebounceRun, JobClient
from durable_jobs.activities import handover
from durable_jobs.names import DELIVER_SIGNAL, DELIVERY_WORKFLOW
from durable_jobs.protocol import DeliverRequest
from durable_jobs.tracking import HttpSink, MemorySink
from durable_jobs.tracking.sinks.base import Accepted, RetryLater, SendResult
from durable_jobs.wire import to_raw
from durable_jobs.workflows import delivery as delivery_module
from tests.support import eventually
from tests.support.lives import WINDOW, Tracked, in_order, kinds_of, tracked_worker
from tests.support.wrong_input import NOT_JSON
from tests.tracking.collector import Collector
from tests.tracking.helpers import event
from tests.tracking.jobs import Gather, Item, Rest, all_jobs


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
    monkeypatch.setattr(handover, "MAX_EVENTS", 6)
    instances = [await live(worker, number) for number in range(6)]
    found = await eventually(lambda: deliveries(worker))
    sizes = [(await worker.handle(run.id).query("status"))["pending"] for run in found]
    assert sorted(sizes) == [6, 6, 6]
    await collector.start()
    await all_arrive(collector, instances)


async def test_a_hand_over_that_temporal_does_not_take_is_made_again(
    worker: Tracked, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal, failures = handover.signal, iter([True, True])

    async def fails(*arguments: Any) -> None:
        if next(failures, False):
            raise TimeoutError
        await signal(*arguments)

    monkeypatch.setattr(handover, "signal", fails)
    instance = await live(worker, 0)
    assert len(await eventually(lambda: deliveries(worker))) == 1
    await collector.start()
    await all_arrive(collector, [instance])


async def test_what_may_have_been_handed_over_already_goes_to_another_delivery_too(
    worker: Tracked, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal, lost = handover.signal, iter([True])

    async def answers(*arguments: Any) -> None:
        await signal(*arguments)
        if next(lost, False):
            raise TimeoutError

    monkeypatch.setattr(handover, "signal", answers)
    instances = [await live(worker, number) for number in range(2)]

    async def sizes() -> list[int]:
        found = [worker.handle(run.id) for run in await deliveries(worker)]
        return sorted([(await each.query("status"))["pending"] for each in found])

    await eventually(lambda: has_sizes(sizes, [3, 6]))
    await collector.start()
    # Each came the same to the byte.
    await all_arrive(collector, instances)


async def has_sizes(sizes: Callable[[], Awaitable[list[int]]], wanted: list[int]) -> bool:
    return await sizes() == wanted


async def test_the_status_counts_what_was_handed_over(
    worker: Tracked, collector: Collector
) -> None:
    poll = worker.jobs.continuous(Rest, worker.queue)
    await poll.start()
    await poll.trigger()

    async def handed_over() -> bool:
        status = await poll.status()
        return status is not None and status.tracking.handed_over == 2

    await eventually(handed_over)
    status = await poll.status()
    assert status is not None
    assert (status.tracking.pending, status.tracking.delivered) == (0, 0)
    assert "connect" in (status.tracking.last_error or "").lower()
    await collector.start()
    await eventually(lambda: len(in_order(collector.accepted, poll.instance_id)) == 2)
    await poll.terminate()
    await eventually(lambda: len(in_order(collector.accepted, poll.instance_id)) == 3)


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
            later = DeliverRequest(events=[event(number)])
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
    again = DeliverRequest.model_validate_json(given)
    await handle.signal(DELIVER_SIGNAL, to_raw(again))
    await collector.start()
    await all_arrive(collector, [instance])
    assert (await handle.result())["delivered"] == 3


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


async def waits(worker: Tracked, instance: str) -> bool:
    tracking = (await worker.handle(instance).query("status"))["tracking"]
    return tracking["handedOver"] == 1 and tracking["lastError"] is not None


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
