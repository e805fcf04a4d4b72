"""What a continuous instance leaves in Temporal: a short history, and runs that follow runs."""

import asyncio
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from temporalio.client import Client

from durable_jobs import ContinuousRun, Every
from durable_jobs.tracking import MemorySink, Tracking
from durable_jobs.workflows import carry
from tests.support import eventually
from tests.support.jobs import (
    QUICK,
    let_pass,
    new_key,
    result_of,
    run_id_of,
    running_worker,
    status_of,
    until_run,
    until_status,
)
from tests.support.skipping import Noting

SOON = timedelta(milliseconds=100)


class Counter(Noting):
    name = "counter"
    schedule = Every(SOON)
    retry = QUICK


@pytest.fixture
def short_histories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Continue as new every two or three ticks."""
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 25)


async def test_a_tracked_tick_adds_at_most_13_events_to_the_history(
    client: Client, queue: str
) -> None:
    class Twenty(Counter):
        async def execute(self, run: ContinuousRun[int]) -> None:
            await super().execute(run)
            if run.run_count == 20:
                run.terminate()

    sink = MemorySink()
    async with running_worker(client, queue, Twenty(), tracking=Tracking(sink)) as jobs:
        counter = jobs.continuous(Twenty, new_key())
        await counter.start()
        await result_of(client, counter.instance_id)
        history = await client.get_workflow_handle(counter.instance_id).fetch_history()
        await eventually(lambda: len(sink.events) == 22)
    assert len(history.events) / 20 <= 13


@pytest.mark.usefixtures("short_histories")
async def test_continue_as_new_keeps_the_state_the_count_and_the_place_in_the_schedule(
    client: Client, queue: str
) -> None:
    job = Counter()
    async with running_worker(client, queue, job) as jobs:
        counter = jobs.continuous(Counter, new_key())
        await counter.start()
        first = await run_id_of(client, counter.instance_id)
        started_at = (await status_of(counter)).started_at
        await until_run(counter, 10)
        assert await run_id_of(client, counter.instance_id) != first
        assert (await status_of(counter)).started_at == started_at
        await counter.terminate("done")
        result = await result_of(client, counter.instance_id)
        state = await counter.state()
    assert (result["reason"], result["runCount"]) == ("done", len(job.runs))
    assert state == len(job.runs)
    assert [run.run_count for run in job.runs] == list(range(1, len(job.runs) + 1))
    assert len({run.idempotency_key for run in job.runs}) == len(job.runs)
    numbers = [(run.due_at - started_at) / SOON for run in job.runs]
    assert all(abs(number - round(number)) < 1e-3 for number in numbers)
    assert all(later - earlier > 0.5 for earlier, later in pairwise(numbers))


@pytest.mark.usefixtures("short_histories")
async def test_tracking_events_are_numbered_without_a_gap_over_continue_as_new(
    client: Client, queue: str
) -> None:
    sink = MemorySink()
    async with running_worker(client, queue, Counter(), tracking=Tracking(sink)) as jobs:
        counter = jobs.continuous(Counter, new_key())
        await counter.start()
        first = await run_id_of(client, counter.instance_id)
        await until_run(counter, 8)
        await counter.terminate()
        await result_of(client, counter.instance_id)
        await eventually(lambda: sink.events[-1]["type"] == "job.terminated")
        assert await run_id_of(client, counter.instance_id) != first
    unique = {event["eventId"]: event for event in sink.events}
    assert [e["sequence"] for e in unique.values()] == list(range(1, len(unique) + 1))
    assert {event["executionId"] for event in unique.values()} == {first}
    assert [e["type"] for e in unique.values()].count("job.started") == 1


@pytest.mark.usefixtures("short_histories")
async def test_a_pause_lasts_over_continue_as_new(client: Client, queue: str) -> None:
    async with running_worker(client, queue, Counter()) as jobs:
        counter = jobs.continuous(Counter, new_key())
        await counter.start()
        await until_run(counter, 1)
        await counter.pause()
        before = await until_status(counter, "paused")
        first = await run_id_of(client, counter.instance_id)
        while await run_id_of(client, counter.instance_id) == first:
            await counter.pause()
        await let_pass(SOON * 2)
        assert await status_of(counter) == before
        await counter.resume()
        await until_run(counter, before.run_count + 1)
        await counter.terminate()


@pytest.mark.usefixtures("short_histories")
async def test_a_trigger_is_not_lost_over_continue_as_new(client: Client, queue: str) -> None:
    class Idle(Counter):
        schedule = Every(timedelta(hours=1))
        start_immediately = False

    job = Idle()
    async with running_worker(client, queue, job) as jobs:
        counter = jobs.continuous(Idle, new_key())
        await counter.start()
        first = await run_id_of(client, counter.instance_id)
        for number in range(1, 9):
            await counter.trigger()
            await eventually(lambda n=number: len(job.runs) == n)
        assert await run_id_of(client, counter.instance_id) != first
        await counter.terminate()


@pytest.mark.usefixtures("short_histories")
async def test_terminate_is_heard_while_an_instance_continues_as_new(
    client: Client, queue: str
) -> None:
    async with running_worker(client, queue, Counter()) as jobs:
        counters = [jobs.continuous(Counter, new_key()) for _ in range(5)]
        for number, counter in enumerate(counters):
            await counter.start()
            await let_pass(timedelta(milliseconds=30 * number))
        await asyncio.gather(*(until_run(counter, 2) for counter in counters))
        assert all(await asyncio.gather(*(counter.terminate("end") for counter in counters)))
        ends = [await result_of(client, counter.instance_id) for counter in counters]
    assert {(end["status"], end["reason"]) for end in ends} == {("terminated", "end")}


async def test_an_instance_that_had_no_worker_for_long_goes_on_with_the_next_tick(
    client: Client, queue: str
) -> None:
    class Rare(Counter):
        schedule = Every(SOON * 3)

    first, second = Rare(), Rare()
    async with running_worker(client, queue, first) as jobs:
        counter = jobs.continuous(Rare, new_key())
        await counter.start()
        started_at = (await until_run(counter, 1)).started_at
    # A tick that came before may have been handed out already; then it goes on with this worker.
    stopped = datetime.now(UTC)
    await let_pass(SOON * 4)
    await let_pass(SOON * 4)
    back = datetime.now(UTC)
    async with running_worker(client, queue, second):
        await eventually(lambda: len(second.runs) >= 3)
        await counter.terminate()
    numbers = [(run.due_at - started_at) / (SOON * 3) for run in second.runs]
    assert not [run.due_at for run in second.runs if stopped < run.due_at < back]
    assert all(later - earlier > 0.5 for earlier, later in pairwise(numbers))
    assert all(abs(number - round(number)) < 1e-3 for number in numbers)
