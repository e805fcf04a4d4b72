"""A window's rules that change under living instances."""

import asyncio
from datetime import timedelta

from temporalio.client import Client

from durable_jobs import DebounceJob, DebounceRun, JobsPlugin
from durable_jobs.handles import DebounceHandle
from tests.support import eventually
from tests.support.jobs import (
    history_of,
    new_key,
    result_of,
    running_worker,
    status_of,
    until_status,
)
from tests.support.lives import assert_replays, histories_of

HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=200)


class Sum(DebounceJob[int]):
    """As it was when the instances began."""

    name = "changing-window"
    flush_after = HOUR
    heartbeat_timeout = timedelta(seconds=1)

    def __init__(self) -> None:
        self.sums: list[int] = []
        self.open = asyncio.Event()
        self.open.set()

    def reduce(self, state: int | None, event: int) -> int:
        return (state or 0) + event

    async def execute(self, run: DebounceRun[int]) -> None:
        self.sums.append(run.state)
        await self.open.wait()


class Shorter(Sum):
    """Its windows are short, or quiet."""

    flush_after = SOON


class Counting(Sum):
    """Its windows end by their count."""

    max_events = 2


async def _replays(client: Client, queue: str) -> None:
    histories = await histories_of(client, queue)
    assert histories
    for job in (Sum, Shorter, Counting):
        await assert_replays(histories, JobsPlugin([job()]))


async def _window_of_an_hour(handle: DebounceHandle[int, int]) -> bool:
    status = await status_of(handle)
    at = status.will_flush_at
    return at is not None and at - status.started_at > HOUR - timedelta(minutes=1)


async def _a_worker_answered(client: Client, handle: DebounceHandle[int, int]) -> bool:
    return "activity_task_completed" in await history_of(client, handle.instance_id)


async def test_an_open_window_keeps_its_rules_and_the_one_after_its_run_has_the_new_ones(
    client: Client, queue: str
) -> None:
    async with running_worker(client, queue, Sum()) as jobs:
        digest = jobs.debounce(Sum, new_key())
        await digest.add(1)
        # Until a worker has spoken, the rules are a client's, which any worker's replace.
        await eventually(lambda: _a_worker_answered(client, digest))
        promised = (await status_of(digest)).will_flush_at
    job = Shorter()
    job.open.clear()
    async with running_worker(client, queue, job):
        await digest.add(2)
        status = await status_of(digest)
        assert (status.status, status.event_count) == ("debouncing", 2)
        assert status.will_flush_at == promised
        await digest.flush()
        await eventually(lambda: job.sums == [3])
        # It opens its window under the old rules, which the run's result replaces.
        await digest.add(4)
        job.open.set()
        result = await result_of(client, digest.instance_id)
    assert (job.sums, result["status"], result["runCount"]) == ([3, 4], "completed", 2)
    await _replays(client, queue)


async def test_a_window_that_is_made_longer_while_a_run_executes(
    client: Client, queue: str
) -> None:
    short = Shorter()
    short.open.clear()
    async with running_worker(client, queue, short) as jobs:
        digest = jobs.debounce(Sum, new_key())
        await digest.add(1)
        await eventually(lambda: short.sums == [1])
        await digest.add(2)
    long = Sum()
    async with running_worker(client, queue, long):
        # The attempt that the first worker's end cut off is made again, under the new code.
        await eventually(lambda: long.sums == [1])
        await eventually(lambda: _window_of_an_hour(digest))
        status = await until_status(digest, "debouncing")
        assert (status.event_count, status.run_count) == (1, 1)
        await digest.flush()
        assert (await result_of(client, digest.instance_id))["runCount"] == 2
    assert long.sums == [1, 2]
    await _replays(client, queue)


async def test_a_count_that_is_added_to_the_rules_holds_for_the_events_that_wait(
    client: Client, queue: str
) -> None:
    counting = Counting()
    counting.open.clear()
    async with running_worker(client, queue, Sum()) as jobs:
        digest = jobs.debounce(Sum, new_key())
        await digest.add(1)
        await digest.add(2)
        assert (await status_of(digest)).event_count == 2
    async with running_worker(client, queue, counting):
        await digest.add(3)
        assert (await status_of(digest)).event_count == 3
        await digest.flush()
        await eventually(lambda: counting.sums == [6])
        for event in (10, 20, 30):
            await digest.add(event)
        counting.open.set()
        assert (await result_of(client, digest.instance_id))["runCount"] == 2
    assert counting.sums == [6, 60]
    await _replays(client, queue)
