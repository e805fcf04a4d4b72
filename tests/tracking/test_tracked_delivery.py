"""How tracking events leave instances: over HTTP, over outages and runs."""

import asyncio
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle, WorkflowHistory

from durable_jobs.names import DELIVER
from durable_jobs.tracking import HttpSink, NoopSink
from durable_jobs.workflows import carry
from tests.support import eventually
from tests.support.lives import (
    WINDOW,
    Event,
    Tracked,
    check_common,
    histories_of,
    in_order,
    kinds_of,
    tracked_worker,
)
from tests.tracking.collector import Collector
from tests.tracking.jobs import Basket, Beat, Gather, Handle, Item, Rest, all_jobs


def arrived(collector: Collector, instance_id: str, *kinds: str) -> list[Event]:
    """The instance's events, if they are of these types."""
    events = in_order(collector.accepted, instance_id)
    return events if kinds_of(events) == list(kinds) else []


async def live_a_window(worker: Tracked, key: str) -> str:
    digest = worker.jobs.debounce(Gather, key)
    await digest.add(Item())
    await worker.handle(digest.instance_id).result()
    return digest.instance_id


async def live_two_ticks(worker: Tracked, key: str) -> str:
    poll = worker.jobs.continuous(Beat, key)
    await poll.start(Basket(total=2))
    await worker.handle(poll.instance_id).result()
    return poll.instance_id


async def live_two_events(worker: Tracked, key: str) -> str:
    task = worker.jobs.task(Handle, key)
    # An event that waited for the one before it could come with it.
    await task.ask(Item())
    await task.send(Item(word="end"))
    await worker.handle(task.instance_id).result()
    return task.instance_id


TICKS = ["job.started", "job.executed", "job.executed", "job.terminated"]


async def test_lives_of_each_type_arrive_at_a_collector_over_http(
    client: Client, queue: str, collector: Collector
) -> None:
    sink = HttpSink(collector.url, headers={"authorization": "Bearer 7"})
    async with tracked_worker(client, queue, all_jobs(), sink=sink) as worker:
        for live, kinds in (
            (live_a_window, WINDOW),
            (live_two_ticks, TICKS),
            (live_two_events, TICKS),
        ):
            instance_id = await live(worker, "over-http")
            events = await eventually(lambda: arrived(collector, instance_id, *kinds))  # noqa: B023
            await check_common(client, instance_id, events)
    for request in collector.requests:
        assert request.headers["content-type"] == "application/json"
        assert request.headers["authorization"] == "Bearer 7"


async def test_tracking_that_is_off_sends_nothing_and_costs_no_history(
    client: Client, queue: str
) -> None:
    delivered: list[bool] = []
    for sink in (NoopSink(), None):
        async with tracked_worker(client, f"{queue}-{sink}", all_jobs(), sink=sink) as worker:
            for live in (live_a_window, live_two_ticks, live_two_events):
                await live(worker, f"{queue}-{sink}")
        histories = await histories_of(client, worker.queue)
        delivered.append(any(map(_delivers, histories)))
        sent = [event["instanceId"] for event in worker.sink.events]
        assert bool(sent) == (sink is None)
    assert delivered == [False, True]


def _delivers(history: WorkflowHistory) -> bool:
    """Whether a delivery of events, local or not, stands in it."""
    return any(DELIVER.encode() in event.SerializeToString() for event in history.events)


async def test_a_life_without_a_collector_ends_on_time_and_its_events_arrive_later(
    client: Client, queue: str, collector: Collector
) -> None:
    await collector.stop()
    sink = HttpSink(collector.url)
    async with tracked_worker(client, queue, all_jobs(), sink=sink) as worker:
        async with asyncio.timeout(9):
            instance_id = await live_a_window(worker, queue)
        child = client.get_workflow_handle(await eventually(lambda: delivery_of(worker)))
        waiting = await eventually(lambda: trouble_of(child))
        assert waiting == {"pending": 3, "delivered": 0, "rejected": 0, "dropped": 0}
        await collector.start()
        events = await eventually(lambda: arrived(collector, instance_id, *WINDOW))
        await check_common(client, instance_id, events)
        done = {"pending": 0, "delivered": 3, "rejected": 0, "dropped": 0, "lastError": None}
        assert await child.result() == done
        assert await child.query("status") == done


async def delivery_of(worker: Tracked) -> str | None:
    """The workflow ID of the one delivery on the worker's queue."""
    query = f"TaskQueue = '{worker.queue}' AND WorkflowType = 'TrackingDelivery'"
    found = [run.id async for run in worker.client.list_workflows(query)]
    return found[0] if found else None


async def trouble_of(delivery: WorkflowHandle[Any, Any]) -> Event | None:
    """A delivery's status, once it says what is wrong; without that text."""
    status = await delivery.query("status")
    return status if status.pop("lastError") else None


async def test_a_collector_that_comes_back_gets_the_events_while_the_life_goes_on(
    client: Client, queue: str, collector: Collector
) -> None:
    await collector.stop()
    sink = HttpSink(collector.url)
    async with tracked_worker(client, queue, all_jobs(), sink=sink) as worker:
        poll = worker.jobs.continuous(Rest, queue)
        await poll.start()
        await poll.trigger()
        await eventually(lambda: handed_over(worker, poll.instance_id))
        await collector.start()
        await eventually(lambda: arrived(collector, poll.instance_id, *TICKS[:2]))
        await poll.terminate()
        await eventually(lambda: arrived(collector, poll.instance_id, *TICKS[:2], TICKS[-1]))


async def handed_over(worker: Tracked, instance_id: str) -> bool:
    tracking = (await worker.handle(instance_id).query("status"))["tracking"]
    return tracking["pending"] == 0 and tracking["handedOver"] == 2


async def test_the_sequence_goes_on_over_continue_as_new(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 12)
    async with tracked_worker(client, queue, all_jobs()) as worker:
        poll = worker.jobs.continuous(Beat, queue)
        await poll.start(Basket(total=5))
        events = await worker.until(poll.instance_id, "job.terminated")
        await check_common(client, poll.instance_id, events)
        assert kinds_of(events) == ["job.started", *["job.executed"] * 5, "job.terminated"]
        assert [event.get("runCount") for event in events] == [None, 1, 2, 3, 4, 5, 5]
    assert len(await histories_of(client, queue)) > 1
