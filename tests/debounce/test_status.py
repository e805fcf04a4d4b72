"""What a debounce instance answers to `status` and `state`."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from temporalio.api.sdk.v1 import WorkflowMetadata

from durable_jobs import JobClient
from durable_jobs.handles import DebounceHandle
from tests.debounce.jobs import Bench, Counted, Gather, Held, Latest, SlowToRetry
from tests.support import eventually
from tests.support.jobs import new_key
from tests.support.scripted import Push, Total


async def test_where_there_never_was_an_instance_status_and_state_are_none(bench: Bench) -> None:
    gather = bench.new(Gather)
    assert await gather.status() is None
    assert await gather.state() is None


async def test_a_gathering_instance_tells_what_waits_and_when_it_flushes(bench: Bench) -> None:
    held = bench.new(Held)
    before = datetime.now(UTC)
    await held.add(Push(n=1))
    await held.add(Push(n=2))
    status = await bench.status(held)
    assert (status.job_type, status.job_name, status.key, status.instance_id) == (
        "debounce",
        "held",
        held.key,
        held.instance_id,
    )
    assert (status.status, status.event_count) == ("debouncing", 2)
    assert (status.run_count, status.attempt) == (0, 0)
    assert (status.last_error, status.rejected_events, status.rejections) == (None, 0, ())
    assert before <= status.started_at <= datetime.now(UTC)
    assert status.will_flush_at
    assert abs(status.will_flush_at - status.started_at - timedelta(hours=1)) < timedelta(seconds=1)
    assert status.next_run_at == status.will_flush_at
    assert await held.state() == Total(ns=[1, 2])
    await held.terminate()


async def test_a_status_is_frozen(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add(Push())
    status = await bench.status(held)
    with pytest.raises(ValidationError):
        status.status = "idle"  # pyright: ignore[reportAttributeAccessIssue]
    await held.terminate()


async def test_a_running_flush_shows_with_its_events(bench: Bench) -> None:
    held = bench.new(Held)
    go_on = asyncio.Event()
    bench.book.script(held.key, lambda _: go_on.wait())
    await held.add(Push(n=1))
    await held.flush()
    await eventually(lambda: bench.calls(held))
    status = await bench.status(held)
    assert (status.status, status.run_count, status.attempt) == ("running", 1, 1)
    assert (status.event_count, status.will_flush_at) == (1, None)
    assert await held.state() == Total(ns=[1])
    go_on.set()
    await bench.result(held)


async def test_a_backoff_shows_the_next_attempt_its_time_and_the_last_error(bench: Bench) -> None:
    slow = bench.new(SlowToRetry)

    async def fail(_: object) -> None:
        raise OSError("the disk is full")

    bench.book.script(slow.key, fail)
    await slow.add(Push(n=1))
    await eventually(lambda: _is(bench, slow.key, "retrying"))
    status = await bench.status(slow)
    assert (status.run_count, status.attempt, status.event_count) == (1, 2, 1)
    assert status.last_error
    assert "the disk is full" in status.last_error
    assert status.next_run_at
    assert status.next_run_at - datetime.now(UTC) > timedelta(minutes=50)
    await slow.terminate()


async def _is(bench: Bench, key: str, word: str) -> bool:
    return (await bench.status(bench.new(SlowToRetry, key))).status == word


async def test_a_paused_instance_says_so(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add(Push())
    await held.pause()
    status = await bench.status(held)
    assert (status.status, status.event_count, status.will_flush_at) == ("paused", 1, None)
    await held.resume()
    status = await bench.status(held)
    assert status.status == "debouncing"
    assert status.will_flush_at
    await held.terminate()


async def test_an_ended_instance_keeps_its_last_status_and_state(bench: Bench) -> None:
    gather = bench.new(Gather)

    async def change(run: object) -> None:
        run.state = Total(ns=[*run.state.ns, 100])  # type: ignore[attr-defined]

    bench.book.script(gather.key, change)
    await gather.add(Push(n=1))
    await bench.result(gather)
    status = await bench.status(gather)
    assert (status.status, status.run_count, status.event_count) == ("completed", 1, 0)
    assert (status.next_run_at, status.will_flush_at, status.last_error) == (None, None, None)
    assert await gather.state() == Total(ns=[1, 100])


async def test_a_terminated_instance_says_so(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add(Push(n=1))
    await held.terminate()
    await bench.result(held)
    status = await bench.status(held)
    assert (status.status, status.event_count, status.will_flush_at) == ("terminated", 0, None)


async def test_state_folds_what_waits_without_effect(bench: Bench) -> None:
    held = bench.new(Held)
    for n in range(3):
        await held.add(Push(n=n))
    for _ in range(3):
        assert await held.state() == Total(ns=[0, 1, 2])
    await held.flush()
    await bench.result(held)
    assert bench.executed(held) == [0, 1, 2]


async def test_status_judges_what_waits_without_effect(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add(Push(n=1))
    await held.add(Push(n=2, note="raise"))
    for _ in range(2):
        status = await bench.status(held)
        assert (status.event_count, status.rejected_events) == (1, 1)
        [rejection] = status.rejections
        assert "ValueError" in rejection.reason
    await held.flush()
    await bench.result(held)
    status = await bench.status(held)
    assert (status.event_count, status.rejected_events) == (0, 1)


async def test_the_default_reduce_answers_the_latest_event(bench: Bench) -> None:
    latest = bench.new(Latest)
    await latest.add(Push(n=1))
    await latest.add(Push(n=2))
    assert await latest.state() == Push(n=2)
    await latest.terminate()


async def test_status_counts_delivered_tracking_events(bench: Bench) -> None:
    gather = await bench.paused(Gather)
    await gather.add(Push())
    await gather.flush()

    async def delivered() -> bool:
        return (await bench.status(gather)).tracking.delivered == 4

    await eventually(delivered)
    tracking = (await bench.status(gather)).tracking
    assert (tracking.pending, tracking.rejected, tracking.dropped) == (0, 0, 0)
    assert tracking.last_error is None
    await gather.terminate()


async def test_a_client_of_another_queue_reads_the_same_instance(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add(Push(n=5))
    elsewhere = JobClient(bench.client, task_queue=new_key()).debounce(Held, held.key)
    assert await elsewhere.state() == Total(ns=[5])
    await elsewhere.terminate()


async def details(bench: Bench, handle: DebounceHandle[Any, Any]) -> str:
    """What the Temporal UI shows of an instance under "User Metadata"."""
    raw = bench.client.get_workflow_handle(handle.instance_id)
    told = await raw.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return told.current_details


async def test_status_and_the_temporal_ui_tell_how_much_waits_and_why_it_will_flush(
    bench: Bench,
) -> None:
    counted = bench.new(Counted)
    await counted.add_many([Push(n=1), Push(n=2)])
    status = await bench.status(counted)
    assert (status.event_bytes, status.flush_reason) == (2 * len('{"n":1,"note":""}'), "timeout")
    assert status.will_flush_at
    at = f"{status.will_flush_at:%Y-%m-%d %H:%M:%S}"
    assert await details(bench, counted) == (
        f"**counted** for `{counted.key}`: debouncing, 2 events (34 bytes), "
        f"flushes at {at} UTC (timeout), sooner at 3 events"
    )
    await counted.pause("ask Ann")
    assert (await bench.status(counted)).flush_reason is None
    told = await details(bench, counted)
    assert "paused, 2 events (34 bytes), until resumed or flushed (ask Ann)" in told
    await counted.terminate()


async def test_a_running_flush_is_told_with_what_gathers_behind_it(bench: Bench) -> None:
    counted, release = bench.new(Counted), asyncio.Event()
    bench.book.script(counted.key, lambda _: release.wait())
    await counted.add_many([Push(n=n) for n in range(3)])
    await eventually(lambda: bench.calls(counted))
    await counted.add(Push(n=4))
    status = await bench.status(counted)
    assert (status.status, status.flush_reason) == ("running", "max_events")
    assert (status.event_count, status.event_bytes) == (4, 68)
    told = await details(bench, counted)
    assert "running, execute, run 1, attempt 1" in told
    assert "Flushes 3 events (51 bytes) (max_events); 1 event (17 bytes) for the next" in told
    release.set()
    await counted.flush()
    await bench.result(counted)
    scheduled = await summaries(bench, counted)
    assert scheduled == ["3 events (51 bytes), max_events", "1 event (17 bytes), manual"]


async def summaries(bench: Bench, handle: DebounceHandle[Any, Any]) -> list[str]:
    """How the runs of an instance are titled in its history."""
    history = await bench.client.get_workflow_handle(handle.instance_id).fetch_history()
    found = [
        event.user_metadata.summary.data
        for event in history.events
        if event.activity_task_scheduled_event_attributes.activity_type.name.endswith(".execute")
    ]
    return [json.loads(data) for data in found]
