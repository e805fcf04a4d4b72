"""Tracking events of attempts and collectors in trouble."""

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import Client

from durable_jobs import ContinuousRun, Retry
from durable_jobs.tracking import HttpSink, outbox
from tests.support import eventually
from tests.support.lives import (
    Event,
    Tracked,
    executed,
    failed,
    in_order,
    kinds_of,
    stack_of,
    terminated,
    tracked_worker,
)
from tests.tracking.collector import Answer, Collector, Request
from tests.tracking.jobs import SOON, Basket, Gather, Item, Rest, all_jobs


class Stumbling(Rest):
    """Fails at once and is tried again much later."""

    name = "stumbling"
    retry = Retry(initial=timedelta(minutes=1), maximum=timedelta(minutes=1), jitter=False)

    async def execute(self, run: ContinuousRun[Basket]) -> None:
        raise LookupError("nobody there")


class Slow(Rest):
    """Takes longer than it may, at its first attempt."""

    name = "slow"
    timeout = timedelta(milliseconds=600)
    retry = Retry(initial=SOON, jitter=False)

    async def execute(self, run: ContinuousRun[Basket]) -> None:
        if not run.is_retry:
            await asyncio.sleep(30)


async def test_a_failure_is_told_with_its_error_while_the_retry_is_still_to_come(
    client: Client, queue: str
) -> None:
    async with tracked_worker(client, queue, [Stumbling()]) as worker:
        poll = worker.jobs.continuous(Stumbling, queue)
        await poll.start()
        await poll.trigger()
        life = await worker.life(poll.instance_id, "job.failed")
        status = await poll.status()
        await poll.terminate()
    stack = stack_of("execute", "LookupError: nobody there")
    error = {"message": "LookupError: nobody there", "stack": stack}
    assert life == [{"type": "job.started"}, {**failed(1, 1, again=True), "error": error}]
    assert status is not None
    assert (status.status, status.attempt) == ("retrying", 2)


async def test_a_retry_that_is_called_off_is_no_failure_of_its_own(
    client: Client, queue: str
) -> None:
    async with tracked_worker(client, queue, [Stumbling()]) as worker:
        poll = worker.jobs.continuous(Stumbling, queue)
        await poll.start()
        await poll.trigger()
        await worker.until(poll.instance_id, "job.failed")
        await poll.terminate("enough")
        life = await worker.life(poll.instance_id, "job.terminated")
    assert [event["type"] for event in life] == ["job.started", "job.failed", "job.terminated"]
    assert life[-1] == terminated("enough", 1)


async def test_an_attempt_that_took_too_long_is_told_as_such(client: Client, queue: str) -> None:
    async with tracked_worker(client, queue, [Slow()]) as worker:
        poll = worker.jobs.continuous(Slow, queue)
        await poll.start()
        await poll.trigger()
        life = await worker.life(poll.instance_id, "job.executed")
        await poll.terminate()
    message = "TimeoutError: the attempt took longer than its timeout of 0:00:00.600000"
    error = {"message": message, "stack": message}
    assert life == [
        {"type": "job.started"},
        {**failed(1, 1, again=True), "error": error},
        executed(1, attempt=2),
    ]


class Trouble:
    """A collector's bad time: it refuses, or does not answer, until it is over."""

    def __init__(self, collector: Collector, kind: str) -> None:
        self._over = asyncio.Event()
        self._kind = kind
        collector.behaviour = self._answer

    def end(self) -> None:
        self._over.set()

    async def _answer(self, _: Request) -> Answer:
        if self._kind == "hangs":
            await self._over.wait()
        return Answer() if self._over.is_set() else Answer(status=503)


def arrived(collector: Collector, instance_id: str, count: int) -> list[Event]:
    events = in_order(collector.accepted, instance_id)
    return events if len(events) >= count else []


@pytest.mark.parametrize("kind", ["fails", "hangs"])
async def test_a_collector_in_trouble_holds_up_no_life(
    client: Client, queue: str, collector: Collector, kind: str
) -> None:
    trouble = Trouble(collector, kind)
    async with tracked_worker(client, queue, all_jobs(), sink=HttpSink(collector.url)) as worker:
        async with asyncio.timeout(9):
            instance_id = await live(worker, queue)
        trouble.end()
        events = await eventually(lambda: arrived(collector, instance_id, 3))
    assert kinds_of(events) == ["debounce.started", "job.executed", "debounce.flushed"]
    assert [event["sequence"] for event in events] == [1, 2, 3]


async def live(worker: Tracked, key: str) -> str:
    digest = worker.jobs.debounce(Gather, key)
    await digest.add(Item())
    await worker.handle(digest.instance_id).result()
    return digest.instance_id


async def test_an_instance_whose_events_nobody_takes_hands_them_over_and_goes_on(
    client: Client, queue: str, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "DELIVERY_EVENTS", 2)
    trouble = Trouble(collector, "fails")
    async with tracked_worker(client, queue, all_jobs(), sink=HttpSink(collector.url)) as worker:
        poll = worker.jobs.continuous(Rest, queue)
        await poll.start()
        for number in range(1, 8):
            await poll.trigger()
            await eventually(lambda: ran(worker, poll.instance_id, number))  # noqa: B023
        await eventually(lambda: nothing_pending(worker, poll.instance_id))
        assert await deliveries(worker) > 0
        trouble.end()
        events = await eventually(lambda: arrived(collector, poll.instance_id, 8))
        await poll.terminate()
        await eventually(lambda: arrived(collector, poll.instance_id, 9))
    assert [event["sequence"] for event in events] == list(range(1, 9))


async def ran(worker: Tracked, instance_id: str, count: int) -> bool:
    status = await worker.handle(instance_id).query("status")
    return status["runCount"] == count and status["status"] == "scheduled"


async def nothing_pending(worker: Tracked, instance_id: str) -> bool:
    tracking = (await worker.handle(instance_id).query("status"))["tracking"]
    return tracking["pending"] == 0 and tracking["handedOver"] == 8


async def deliveries(worker: Tracked) -> int:
    query = f"TaskQueue = '{worker.queue}' AND WorkflowType = 'TrackingDelivery'"
    return len([run async for run in worker.client.list_workflows(query)])
