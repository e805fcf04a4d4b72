"""The last events of an instance leave within the workflow task in which it ends."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHistory
from temporalio.worker import PatchActivationInput, Replayer, Worker

from durable_jobs import JobClient, JobsPlugin
from durable_jobs.names import FLUSH_NOW
from durable_jobs.tracking import HttpSink, MemorySink, Tracking, outbox
from durable_jobs.tracking.courier import Courier, Verdict
from durable_jobs.tracking.sinks.base import RetryLater, SendResult
from durable_jobs.tracking.wire import WireEvent
from durable_jobs.workflows.flush import STAYED
from tests.lives import TERMINAL, WINDOW, Tracked, in_order, kinds_of, tracked_worker
from tests.reconciling import reconcile
from tests.support import eventually
from tests.tracked_jobs import Gather, Handle, Item
from tests.tracking.collector import Answer, Collector, Request

TASK = ["job.started", "job.executed", TERMINAL]


async def live(client: Client, queue: str, key: str) -> WorkflowHistory:
    """A whole life; returns its history."""
    window = JobClient(client, task_queue=queue).debounce(Gather, key)
    await window.add(Item())
    handle = client.get_workflow_handle(window.instance_id)
    await handle.result()
    return await handle.fetch_history()


def marks(history: WorkflowHistory) -> Counter[str]:
    """What its markers are about."""
    found: Counter[str] = Counter()
    for event in history.events:
        if event.HasField("marker_recorded_event_attributes"):
            text = event.SerializeToString()
            for name in (FLUSH_NOW, STAYED):
                found[name] += name.encode() in text
    return +found


async def all_arrive(collector: Collector, key: str) -> list[dict[str, Any]]:
    def there() -> list[dict[str, Any]]:
        events = in_order(collector.accepted, f"debounce:gather:{key}")
        return events if kinds_of(events) == WINDOW else []

    return await eventually(there)


async def tracking_of(worker: Tracked, key: str) -> dict[str, Any]:
    """What an instance that has ended says of its events, as a replay has it."""
    handle = worker.handle(f"debounce:gather:{key}")
    return (await handle.query("status"))["tracking"]


def delivered(count: int, rejected: int = 0) -> dict[str, Any]:
    return {"pending": 0, "delivered": count, "rejected": rejected, "dropped": 0}


async def live_until(
    client: Client, queue: str, holds: Callable[[str, WorkflowHistory], Awaitable[bool]]
) -> str:
    """Lives whole windows until one is as wanted, and gives its key.

    The first request of a process is late, and so may any be on a busy machine.
    """
    for number in range(100):
        key = f"{queue}-{number}"
        if await holds(key, await live(client, queue, key)):
            return key
    raise AssertionError("no window was as wanted")


async def left(key: str, history: WorkflowHistory) -> bool:
    """Whether a window's last events left with its last task."""
    return not marks(history)


async def test_a_window_s_tracking_costs_no_event_of_history(
    client: Client, queue: str, collector: Collector
) -> None:
    lengths: list[int] = []

    async def measured(key: str, history: WorkflowHistory) -> bool:
        lengths.append(len(history.events))
        return await left(key, history)

    for sink in (None, HttpSink(collector.url)):
        plugin = JobsPlugin([Gather()], Tracking(sink) if sink is not None else None)
        tracked = f"{queue}-{sink is not None}"
        async with Worker(client, task_queue=tracked, plugins=[plugin]):
            key = await live_until(client, tracked, measured)
    await all_arrive(collector, key)
    assert lengths[0] == lengths[-1]


async def test_asking_an_instance_that_has_ended_sends_nothing_again(
    client: Client, queue: str, collector: Collector
) -> None:
    sink = HttpSink(collector.url)
    async with tracked_worker(client, queue, [Gather()], sink=sink):
        key = await live_until(client, queue, left)
    sent = len(collector.requests)
    async with tracked_worker(client, queue, [Gather()], sink=HttpSink(collector.url)) as worker:
        known = await tracking_of(worker, key)
    assert known == {**delivered(3), "lastError": None}
    assert len(collector.requests) == sent


async def test_a_refused_event_of_an_end_is_counted_whoever_is_asked(
    client: Client, queue: str, collector: Collector
) -> None:
    def refuse(request: Request) -> Answer:
        kinds = {event["type"]: event["eventId"] for event in request.events}
        return Answer(rejected=[kinds[kind] for kind in WINDOW[1:2] if kind in kinds])

    collector.behaviour = refuse
    sink = HttpSink(collector.url)
    async with tracked_worker(client, queue, [Gather()], sink=sink) as worker:

        async def stayed(key: str, history: WorkflowHistory) -> bool:
            answered = (await tracking_of(worker, key))["rejected"] == 1
            return answered and marks(history) == {STAYED: 1, FLUSH_NOW: 1}

        key = await live_until(client, queue, stayed)
        before = await tracking_of(worker, key)
    async with tracked_worker(client, queue, [Gather()], sink=HttpSink(collector.url)) as worker:
        after = await tracking_of(worker, key)
    assert before.pop("lastError") == after.pop("lastError") is not None
    assert before == after == delivered(2, rejected=1)


def refusing(_: PatchActivationInput) -> bool:
    """Of a worker whose user lets no patch be made yet."""
    return False


@pytest.mark.parametrize("options", [{}, {"patch_activation_callback": refusing}], ids=["", "own"])
async def test_an_end_goes_on_without_a_collector_that_has_just_begun_to_hang(
    client: Client, queue: str, collector: Collector, options: dict[str, Any]
) -> None:
    well, answers = collector.behaviour, asyncio.Event()

    async def hang(_: Request) -> Answer:
        await answers.wait()
        return Answer()

    async def waited(key: str) -> bool:
        """Whether the end of a life, which goes on all the same, waited for its events."""
        collector.behaviour = hang
        history = await live(client, queue, f"hung-{key}")
        collector.behaviour = well
        answers.set()
        await all_arrive(collector, f"hung-{key}")
        answers.clear()
        return marks(history) == {STAYED: 1, FLUSH_NOW: 1}

    async def waited_after_one_left(key: str, history: WorkflowHistory) -> bool:
        return await left(key, history) and await waited(key)

    sink = HttpSink(collector.url)
    async with tracked_worker(client, queue, [Gather()], sink=sink, **options):
        await live_until(client, queue, waited_after_one_left)


async def test_more_events_than_a_request_takes_do_not_hold_the_task_that_ends(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "BATCH_EVENTS", 1)
    async with tracked_worker(client, queue, [Gather()]) as worker:
        history = await live(client, queue, queue)
        assert kinds_of(worker.sent(f"debounce:gather:{queue}")) == WINDOW
    assert marks(history)[FLUSH_NOW] > 0


async def test_nothing_of_the_user_s_runs_in_a_workflow_task(
    client: Client, queue: str, collector: Collector
) -> None:
    def redact(event: dict[str, Any]) -> dict[str, Any]:
        return {**event, "env": "redacted"}

    tracking = Tracking(HttpSink(collector.url), before_send=redact)
    async with Worker(client, task_queue=queue, plugins=[JobsPlugin([Gather()], tracking)]):
        history = await live(client, queue, queue)
    assert marks(history) == {FLUSH_NOW: 1}
    assert {event["env"] for event in await all_arrive(collector, queue)} == {"redacted"}


@pytest.mark.parametrize("in_activity", [True, False])
async def test_an_end_tells_the_courier_how_long_the_instance_lived(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch, in_activity: bool
) -> None:
    lives: list[timedelta] = []
    settle = Courier.settle

    async def noting(
        courier: Courier,
        ids: Sequence[str],
        within: timedelta | None,
        *,
        lived: timedelta | None = None,
    ) -> dict[str, Verdict]:
        if lived is not None:
            lives.append(lived)
        return await settle(courier, ids, within, lived=lived)

    monkeypatch.setattr(Courier, "settle", noting)
    tracking = Tracking(MemorySink(), before_send=dict if in_activity else None)
    began = time.monotonic()
    async with Worker(client, task_queue=queue, plugins=[JobsPlugin([Gather()], tracking)]):
        await live(client, queue, queue)
    (lived,) = lives
    assert Gather.flush_after <= lived < timedelta(seconds=time.monotonic() - began)


async def test_a_replayer_sends_nothing(client: Client, queue: str) -> None:
    async with tracked_worker(client, queue, [Gather()]):
        history = await live(client, queue, queue)
    *before, completed, _ = history.events
    assert completed.HasField("workflow_task_completed_event_attributes")
    sink = MemorySink()
    replayer = Replayer(workflows=[], plugins=[JobsPlugin([Gather()], Tracking(sink))])
    # The last task is at hand, as it was for the worker that sent.
    await replayer.replay_workflow(
        WorkflowHistory(history.workflow_id, before), raise_on_replay_failure=False
    )
    assert sink.events == []


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
