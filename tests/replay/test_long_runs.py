"""Runs that outlive a Temporal run: their history stays short, and they lose nothing on the way."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import Retry, RetryAfter
from durable_jobs.tracking import MemorySink, Tracking
from durable_jobs.workflows import carry
from tests.support import eventually
from tests.support.jobs import running_worker, status_of, until_status
from tests.support.lives import histories_of, in_order
from tests.support.long_runs import (
    HOUR,
    KINDS,
    Notes,
    Stubborn,
    Ticker,
    a_task,
    failing_until,
    runs_of,
    the_state,
)


@pytest.mark.parametrize(("job", "begin"), KINDS)
async def test_many_attempts_keep_their_history_short_and_are_one_run(
    client: Client, queue: str, job: Any, begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 300)
    notes, sink = Notes(failing_until(300)), MemorySink()
    async with running_worker(client, queue, job(notes), tracking=Tracking(sink)) as jobs:
        handle = await begin(jobs)
        await eventually(lambda: len(notes.attempts) == 300, within=60)
        assert await the_state(handle) == 7
        assert notes.numbers == list(range(1, 301))
        assert len(notes.keys) == 1
        assert {run.run_count for run in notes.attempts} == {1}
        events = await eventually(lambda: _executed(sink, handle.instance_id))
    failed = [event["attempt"] for event in events if event["type"] == "job.failed"]
    assert failed == list(range(1, 300))
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    histories = await runs_of(client, queue, job)
    assert len(histories) >= 3
    assert all(len(history.events) < 600 for history in histories)


def _executed(sink: MemorySink, instance_id: str) -> list[Any]:
    events = in_order(sink.events, instance_id)
    return events if any(event["type"] == "job.executed" for event in events) else []


@pytest.mark.parametrize(("job", "begin"), KINDS)
async def test_signals_during_a_long_backoff_make_it_continue_as_new_with_the_run(
    client: Client, queue: str, job: Any, begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_LETTERS", 20)

    async def later(run: Any) -> None:
        if run.attempt == 1:
            raise RetryAfter(timedelta(seconds=10), "not yet")

    notes = Notes(later)
    async with running_worker(client, queue, job(notes)) as jobs:
        handle = await begin(jobs)
        before = await until_status(handle, "retrying")
        raw = client.get_workflow_handle(handle.instance_id)
        for count in (2, 3):
            await asyncio.gather(*(raw.signal("pause") for _ in range(25)))
            await eventually(lambda: _many_runs(client, queue, count))  # noqa: B023
        resting = await status_of(handle)
        assert (resting.status, resting.attempt) == ("retrying", 2)
        assert resting.next_run_at == before.next_run_at
        await handle.resume()
        assert await the_state(handle) == 7
    assert notes.numbers == [1, 2]
    assert len(notes.keys) == 1
    assert before.next_run_at is not None
    await runs_of(client, queue, job)


async def _many_runs(client: Client, queue: str, least: int) -> bool:
    return len(await histories_of(client, queue)) >= least


@pytest.mark.parametrize(("job", "begin"), KINDS)
async def test_a_carried_run_is_dropped_by_terminate(
    client: Client, queue: str, job: Any, begin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_LETTERS", 5)

    async def never(run: Any) -> None:
        raise RetryAfter(HOUR, "not yet")

    notes = Notes(never)
    async with running_worker(client, queue, job(notes)) as jobs:
        handle = await begin(jobs)
        await until_status(handle, "retrying")
        raw = client.get_workflow_handle(handle.instance_id)
        await asyncio.gather(*(raw.signal("pause") for _ in range(10)))
        await eventually(lambda: _many_runs(client, queue, 2))
        await handle.terminate("enough")
        ended = await raw.result()
    assert (ended["status"], ended["reason"], ended["runCount"]) == ("terminated", "enough", 1)
    assert ended["discardedEvents"] == (0 if job is Ticker else 1)
    assert notes.numbers == [1]
    await runs_of(client, queue, job)


async def test_the_time_limit_of_a_run_is_kept_over_activities_and_continue_as_new(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Limited(Stubborn):
        retry = Retry(
            initial=timedelta(milliseconds=20),
            backoff="fixed",
            jitter=False,
            max_duration=timedelta(seconds=1.5),
        )

    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 50)
    notes, sink = Notes(failing_until(1_000_000)), MemorySink()
    async with running_worker(client, queue, Limited(notes), tracking=Tracking(sink)) as jobs:
        task = await a_task(jobs)
        await eventually(lambda: _exhausted(sink))
        assert len((await status_of(task)).failed_events) == 1
        await task.terminate()
    [exhausted] = _exhausted(sink)
    assert exhausted["reason"] == "max_duration"
    assert exhausted["attempts"] == len(notes.attempts) == max(notes.numbers)
    assert len(notes.keys) == 1
    assert len(await runs_of(client, queue, Limited)) > 1


def _exhausted(sink: MemorySink) -> list[Any]:
    return [event for event in sink.events if event["type"] == "job.retryExhausted"]


async def test_an_attempt_that_begins_while_the_run_is_carried_counts_once(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race: continue-as-new is due again and again, just as attempts begin and fail."""
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 15)

    class Hasty(Stubborn):
        retry = Retry(initial=timedelta(milliseconds=15), backoff="fixed", jitter=False)

    async def script(run: Any) -> None:
        await asyncio.sleep(0.005)
        if run.attempt < 40:
            raise ValueError(f"attempt {run.attempt}")

    notes, sink = Notes(script), MemorySink()
    async with running_worker(client, queue, Hasty(notes), tracking=Tracking(sink)) as jobs:
        task = await a_task(jobs)
        assert await the_state(task) == 7
        events = await eventually(lambda: _executed(sink, task.instance_id))
        await task.terminate()
    failed = Counter(event["attempt"] for event in events if event["type"] == "job.failed")
    assert failed == Counter(range(1, 40))
    assert [e["attempt"] for e in events if e["type"] == "job.executed"] == [40]
    assert len(notes.keys) == 1
    assert len(await runs_of(client, queue, Hasty)) > 1
