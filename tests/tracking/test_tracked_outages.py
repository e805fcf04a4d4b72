"""Many instances while the collector is dead or slow: all end, and all their events arrive."""

import asyncio
from collections import defaultdict
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs.embedded.ports import free_port
from durable_jobs.tracking import HttpSink, NoopSink, courier
from tests.support import eventually
from tests.support.lives import WINDOW, Tracked, tracked_worker
from tests.tracking.collector import Answer, Collector, Request
from tests.tracking.helpers import FAST
from tests.tracking.jobs import Gather, Handle, Item, all_jobs

INSTANCES = 40
TASK = ["job.started", "job.executed", "job.terminated"]


async def live_all(worker: Tracked) -> None:
    """Let all instances live from start to end."""

    async def live(n: int) -> None:
        window = worker.jobs.debounce(Gather, f"{worker.queue}-{n}")
        task = worker.jobs.task(Handle, f"{worker.queue}-{n}")
        await window.add(Item())
        await task.send(Item(word="end"))
        for instance in (window, task):
            await worker.handle(instance.instance_id).result()

    async with asyncio.timeout(60):
        await asyncio.gather(*(live(n) for n in range(INSTANCES)))


def complete(collector: Collector) -> bool:
    """Whether each instance's life is there, from its first event to its last."""
    lives: dict[str, dict[int, Any]] = defaultdict(dict)
    for event in collector.accepted:
        lives[event["instanceId"]][event["sequence"]] = event["type"]
    return len(lives) == 2 * INSTANCES and all(
        [life.get(n) for n in (1, 2, 3)] in (WINDOW, TASK) for life in lives.values()
    )


async def test_a_collector_that_is_dead_for_whole_lives_gets_them_afterwards(
    client: Client, queue: str
) -> None:
    collector = Collector()
    collector.port = free_port()
    async with tracked_worker(client, queue, all_jobs(), sink=HttpSink(collector.url)) as worker:
        await live_all(worker)
        assert collector.accepted == []
        await collector.start()
        await eventually(lambda: complete(collector), within=60)
    await collector.stop()


async def test_a_slow_collector_gets_all_events_of_lives_that_ended_before(
    client: Client, queue: str, collector: Collector
) -> None:
    async def slowly(_: Request) -> Answer:
        await asyncio.sleep(2)
        return Answer()

    collector.behaviour = slowly
    sink = HttpSink(collector.url, timeout=timedelta(seconds=10))
    async with tracked_worker(client, queue, all_jobs(), sink=sink) as worker:
        await live_all(worker)
        await eventually(lambda: complete(collector), within=60)


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_wrong_set_up_keeps_the_events_until_it_is_corrected(
    client: Client,
    queue: str,
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
) -> None:
    monkeypatch.setattr(courier, "Pace", lambda: FAST)
    collector.behaviour = lambda _: Answer(status)
    async with tracked_worker(client, queue, all_jobs(), sink=HttpSink(collector.url)) as worker:
        window = worker.jobs.debounce(Gather, queue)
        await window.add(Item())
        await worker.handle(window.instance_id).result()
        status_then = await window.status()
    assert status_then is not None
    assert (status_then.tracking.rejected, status_then.tracking.dropped) == (0, 0)
    collector.behaviour = lambda _: Answer()
    # A worker with the right set-up delivers what the other one could not.
    async with tracked_worker(client, queue, all_jobs(), sink=HttpSink(collector.url)):
        await eventually(lambda: len({e["sequence"] for e in collector.accepted}) == 3)


async def test_a_worker_without_tracking_leaves_events_to_one_that_has_it(
    client: Client, queue: str, collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.behaviour = lambda _: Answer(503)
    async with tracked_worker(client, queue, all_jobs(), sink=HttpSink(collector.url)) as worker:
        window = worker.jobs.debounce(Gather, queue)
        await window.add(Item())
        await worker.handle(window.instance_id).result()
    assert "switched off" not in caplog.text
    async with tracked_worker(client, queue, all_jobs(), sink=NoopSink()):
        await eventually(lambda: "switched off on the worker" in caplog.text)
    collector.behaviour = lambda _: Answer()
    async with tracked_worker(client, queue, all_jobs(), sink=HttpSink(collector.url)):
        await eventually(lambda: len({e["sequence"] for e in collector.accepted}) == 3)
    assert "dropped" not in caplog.text
