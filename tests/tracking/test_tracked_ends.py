"""The last events of an instance leave by its last delivery, which holds up nothing for long."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError

from durable_jobs.names import DELIVER
from durable_jobs.tracking import HttpSink, MemorySink, NoopSink
from durable_jobs.tracking.sinks.base import RetryLater, SendResult
from durable_jobs.tracking.wire import WireEvent
from durable_jobs.workflows import carry
from tests.support import PATIENCE, eventually
from tests.support.jobs import history_of
from tests.support.lives import TERMINAL, WINDOW, Tracked, in_order, kinds_of, tracked_worker
from tests.support.reconciling import reconcile
from tests.tracking.collector import Answer, Collector, Request
from tests.tracking.jobs import Gather, Handle, Item, Rest, all_jobs

TASK = ["job.started", "job.executed", TERMINAL]


async def live(worker: Tracked, key: str) -> str:
    """A whole life; returns its instance."""
    window = worker.jobs.debounce(Gather, key)
    await window.add(Item())
    await worker.handle(window.instance_id).result()
    return window.instance_id


async def tracking_of(worker: Tracked, instance_id: str) -> dict[str, Any]:
    """What an instance says of its events."""
    return (await worker.handle(instance_id).query("status"))["tracking"]


def counted(count: int, rejected: int = 0) -> dict[str, Any]:
    return {"pending": 0, "delivered": count, "rejected": rejected, "dropped": 0, "handedOver": 0}


class Silence:
    """Lets a collector take requests and answer none, until it is over."""

    def __init__(self, collector: Collector) -> None:
        self._over = asyncio.Event()
        collector.behaviour = self._answer

    def end(self) -> None:
        self._over.set()

    async def _answer(self, _: Request) -> Answer:
        await self._over.wait()
        return Answer()


@pytest.fixture
async def silence(collector: Collector) -> AsyncIterator[Silence]:
    silence = Silence(collector)
    yield silence
    silence.end()


async def deliveries(client: Client, instance_id: str, run_id: str | None = None) -> list[str]:
    """How the deliveries of a run ended, in the order of their start; "" where they did not."""
    handle = client.get_workflow_handle(instance_id, run_id=run_id)
    ends: dict[int, str] = {}
    async for event in handle.fetch_history_events():
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name == DELIVER:
            ends[event.event_id] = ""
        elif (of := _ended(event)) in ends:
            ends[of] = str(event.WhichOneof("attributes"))
    return list(ends.values())


def _ended(event: HistoryEvent) -> int:
    """The activity that a history event ended."""
    attributes = getattr(event, event.WhichOneof("attributes") or "")
    ended = event.WhichOneof("attributes") or ""
    started = ended == "activity_task_started_event_attributes"
    return 0 if started else getattr(attributes, "scheduled_event_id", 0)


async def test_asking_an_instance_that_has_ended_sends_nothing_again(
    client: Client, queue: str, collector: Collector
) -> None:
    async with tracked_worker(client, queue, [Gather()], sink=HttpSink(collector.url)) as worker:
        instance = await live(worker, queue)
    sent = len(collector.requests)
    async with tracked_worker(client, queue, [Gather()], sink=HttpSink(collector.url)) as worker:
        # Its last delivery is in history, and no task takes its result up any more.
        known = await tracking_of(worker, instance)
    assert known == {**counted(3), "lastError": None}
    assert len(collector.requests) == sent


async def test_a_refused_event_of_an_end_is_counted_whoever_is_asked(
    client: Client, queue: str, collector: Collector
) -> None:
    def refuse(request: Request) -> Answer:
        return Answer(
            rejected=[each["eventId"] for each in request.events if each["type"] == WINDOW[1]]
        )

    collector.behaviour = refuse
    async with tracked_worker(client, queue, [Gather()], sink=HttpSink(collector.url)) as worker:
        before = await tracking_of(worker, instance := await live(worker, queue))
    async with tracked_worker(client, queue, [Gather()], sink=HttpSink(collector.url)) as worker:
        after = await tracking_of(worker, instance)
    assert before.pop("lastError") == after.pop("lastError") is not None
    assert before == after == counted(2, rejected=1)


async def test_an_end_comes_about_a_second_later_at_most_where_the_collector_hangs(
    client: Client, queue: str, collector: Collector, silence: Silence
) -> None:
    async with tracked_worker(client, queue, [Gather()], sink=HttpSink(collector.url)) as worker:
        instance = await live(worker, queue)
        events = (await worker.handle(instance).fetch_history()).events
        [flush] = [
            event.event_time.ToDatetime()
            for event in events
            if event.activity_task_scheduled_event_attributes.activity_type.name == DELIVER
        ]
        # A second to wait for the collector; the rest is for a busy machine.
        assert events[-1].event_time.ToDatetime() - flush < timedelta(seconds=3)
        assert (await tracking_of(worker, instance))["handedOver"] == 3
        silence.end()
        await eventually(lambda: kinds_of(in_order(collector.accepted, instance)) == WINDOW)


async def test_an_end_does_not_wait_for_a_flush_in_flight(
    client: Client, queue: str, collector: Collector, silence: Silence
) -> None:
    async with tracked_worker(client, queue, [Rest()], sink=HttpSink(collector.url)) as worker:
        poll = worker.jobs.continuous(Rest, queue)
        await poll.start()
        await eventually(lambda: collector.requests)
        await poll.terminate("enough")
        # The delivery in flight waits 10 s for the collector.
        async with asyncio.timeout(8):
            await worker.handle(poll.instance_id).result()
        completed = "activity_task_completed_event_attributes"
        assert await deliveries(client, poll.instance_id) == ["", completed]
        assert (await tracking_of(worker, poll.instance_id))["handedOver"] == 2
        silence.end()
        kinds = ["job.started", TERMINAL]
        await eventually(lambda: kinds_of(in_order(collector.accepted, poll.instance_id)) == kinds)


async def test_a_flush_in_flight_at_continue_as_new_is_made_again_the_same_to_the_byte(
    client: Client,
    queue: str,
    collector: Collector,
    silence: Silence,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 12)
    sink = HttpSink(collector.url)
    async with tracked_worker(client, queue, [Handle()], sink=sink) as worker:
        task = worker.jobs.task(Handle, queue)
        await task.send(Item())
        await eventually(lambda: collector.requests)
        await task.send(Item())

        async def first_run() -> str | None:
            described = await worker.handle(task.instance_id).describe()
            first = described.raw_description.workflow_execution_info.first_run_id
            return first if first != described.run_id else None

        first = await eventually(first_run)
        assert "" in await deliveries(client, task.instance_id, first)
        await task.send(Item(word="end"))
    # What the first worker had in hand is gone with it.
    early = [raw_events(request) for request in collector.requests]
    silence.end()
    collector.behaviour = lambda _: Answer()
    async with tracked_worker(client, queue, [Handle()], sink=HttpSink(collector.url)):
        kinds = ["job.started", *["job.executed"] * 3, TERMINAL]
        await eventually(lambda: kinds_of(in_order(collector.accepted, task.instance_id)) == kinds)
    late = [raw_events(request) for request in collector.requests[len(early) :]]
    twice = 0
    for sent in early:
        for event_id, text in sent.items():
            again = [each[event_id] for each in late if event_id in each]
            assert again
            assert set(again) == {text}
            twice += 1
    assert twice >= 2


def raw_events(request: Request) -> dict[str, str]:
    """The events of a request as they were written."""
    return {event["eventId"]: json.dumps(event) for event in request.events}


async def _delivered(worker: Tracked, instance_id: str) -> int:
    return (await tracking_of(worker, instance_id))["delivered"]


async def test_a_worker_without_tracking_holds_up_no_end_and_loses_no_event(
    client: Client, queue: str
) -> None:
    async with tracked_worker(client, queue, all_jobs()) as worker:
        poll = worker.jobs.continuous(Rest, queue)
        await poll.start()
        early = await worker.until(poll.instance_id, "job.started")
        # Before it heard of that, the instance does not know that it is tracked.
        await eventually(lambda: _delivered(worker, poll.instance_id))
    async with tracked_worker(client, queue, all_jobs(), sink=NoopSink()) as worker:
        await poll.terminate("enough")
        # What the last worker was about to take in its last moment takes 10 s to come here.
        async with asyncio.timeout(PATIENCE):
            await worker.handle(poll.instance_id).result()
        assert (await tracking_of(worker, poll.instance_id))["handedOver"] == 1
        assert "activity_task_completed" in await history_of(client, poll.instance_id)
    async with tracked_worker(client, queue, all_jobs()) as worker:
        late = await worker.until(poll.instance_id, TERMINAL)
    assert [(each["type"], each["sequence"]) for each in [*early, *late]] == [
        ("job.started", 1),
        (TERMINAL, 2),
    ]


class Intruder(MemorySink):
    """Ends an instance from outside while its last events are on their way."""

    def __init__(self, client: Client, *, takes: bool) -> None:
        super().__init__()
        self._client, self._takes = client, takes

    async def send(self, events: Sequence[WireEvent]) -> SendResult:
        """Terminate the instance that ends, then take the events or not."""
        last = [event for event in events if event["type"] in ("debounce.flushed", TERMINAL)]
        if not last:
            return await super().send(events)
        await self._client.get_workflow_handle(last[0]["instanceId"]).terminate(reason="outside")
        return await super().send(events) if self._takes else RetryLater("not now")


@pytest.mark.parametrize("takes", [True, False])
@pytest.mark.parametrize("told", [True, False])
async def test_an_instance_that_is_ended_from_outside_while_it_ends_is_told_of_in_full_and_once(
    client: Client, queue: str, takes: bool, told: bool
) -> None:
    sink = Intruder(client, takes=takes)
    async with tracked_worker(client, queue, [Gather(), Handle()], sink=sink) as worker:
        if told:
            ending = worker.jobs.task(Handle, queue)
            await ending.send(Item(word="end"))
        else:
            ending = worker.jobs.debounce(Gather, queue)
            await ending.add(Item())
        with pytest.raises(WorkflowFailureError):
            await worker.handle(ending.instance_id).result()
    async with tracked_worker(client, queue, [Gather(), Handle()]) as worker:
        assert (await reconcile(client, queue)).failed == {}

        def life() -> list[dict[str, Any]]:
            return in_order([*sink.events, *worker.sink.events], ending.instance_id)

        await eventually(lambda: TERMINAL in kinds_of(life()))
        assert kinds_of(life()) == (TASK if told else [*WINDOW, TERMINAL])
        assert [event["sequence"] for event in life()] == list(range(1, len(life()) + 1))
