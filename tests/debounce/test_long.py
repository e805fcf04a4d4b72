"""A debounce instance whose history grows long goes on in a new run, with all it has."""

import asyncio
from typing import Any

import pytest

from durable_jobs.workflows import carry
from tests.debounce.jobs import Bench, Gather, Held, Pausing
from tests.support import eventually
from tests.support.jobs import went_on
from tests.support.scripted import Push, Total


@pytest.fixture
def few_signals(monkeypatch: pytest.MonkeyPatch) -> int:
    """Continue as new after so many signals."""
    monkeypatch.setattr(carry, "MAX_LETTERS", 10)
    return 10


async def test_a_waiting_window_survives_continue_as_new(bench: Bench, few_signals: int) -> None:
    held = bench.new(Held)
    first = await held.add_confirmed(Push(n=0), id="first")
    for n in range(1, 3 * few_signals):
        await held.add(Push(n=n))
    await eventually(lambda: went_on(bench.client, held.instance_id))
    status = await bench.status(held)
    assert (status.status, status.event_count) == ("debouncing", 3 * few_signals)
    assert await held.state() == Total(ns=list(range(3 * few_signals)))
    assert status.will_flush_at
    assert abs((status.will_flush_at - status.started_at).total_seconds() - 3600) < 1
    # An id stays known.
    again = await held.add_confirmed(Push(), id="first")
    assert (again.duplicate, again.created) == (True, False)
    assert again.will_flush_at == status.will_flush_at
    assert first.event_count == 1
    await held.flush()
    assert (await bench.result(held))["runCount"] == 1
    assert bench.executed(held) == list(range(3 * few_signals))
    [started] = await eventually(lambda: bench.events(held, "debounce.started"))
    [flushed] = await eventually(lambda: bench.events(held, "debounce.flushed"))
    assert started["executionId"] == flushed["executionId"]
    assert flushed["sequence"] == 3
    assert flushed["eventCount"] == 3 * few_signals


async def test_a_long_history_continues_as_new_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 30)
    held = bench.new(Held)
    for n in range(40):
        await held.add(Push(n=n))
    await eventually(lambda: went_on(bench.client, held.instance_id))
    await held.flush()
    await bench.result(held)
    assert bench.executed(held) == list(range(40))


async def test_a_pause_survives_continue_as_new(bench: Bench, few_signals: int) -> None:
    gather = bench.new(Gather)
    await gather.add(Push(n=0))
    await gather.pause()
    for n in range(1, 2 * few_signals):
        await gather.add(Push(n=n))
    await eventually(lambda: went_on(bench.client, gather.instance_id))
    status = await bench.status(gather)
    assert (status.status, status.event_count) == ("paused", 2 * few_signals)
    await gather.resume()
    await bench.result(gather)
    assert bench.executed(gather) == list(range(2 * few_signals))


async def test_what_an_exhausted_flush_kept_survives_continue_as_new(
    bench: Bench, few_signals: int
) -> None:
    pausing = bench.new(Pausing)

    async def fail_twice(run: Any) -> None:
        if run.run_count == 1:
            raise OSError("full")

    bench.book.script(pausing.key, fail_twice)
    await pausing.add(Push(n=0), id="a")
    await eventually(lambda: bench.events(pausing, "job.retryExhausted"))
    for n in range(1, 2 * few_signals):
        await pausing.add(Push(n=n))
    await eventually(lambda: went_on(bench.client, pausing.instance_id))
    status = await bench.status(pausing)
    assert (status.status, status.run_count) == ("paused", 1)
    assert status.last_error
    assert "full" in status.last_error
    await pausing.resume()
    assert (await bench.result(pausing))["runCount"] == 2
    assert bench.calls(pausing)[-1].state.ns == list(range(2 * few_signals))
    assert bench.calls(pausing)[-1].run_count == 2


async def test_a_burst_over_several_runs_is_executed_to_the_last_event_once(
    bench: Bench, few_signals: int
) -> None:
    gather = bench.new(Gather)

    async def caller(number: int) -> None:
        for n in range(10):
            await gather.add(Push(n=number * 10 + n))

    await asyncio.gather(*(caller(number) for number in range(20)))
    await eventually(lambda: len(bench.executed(gather)) >= 200)
    await bench.result(gather)
    assert sorted(bench.executed(gather)) == list(range(200))


async def test_a_run_that_fails_for_long_goes_on_in_a_new_run_of_its_workflow(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_HISTORY_EVENTS", 60)
    gather = bench.new(Gather)

    async def fail_long(run: Any) -> None:
        if run.run_count == 1 and run.attempt < 25:
            raise OSError("full")

    bench.book.script(gather.key, fail_long)
    await gather.add(Push(n=0))
    await eventually(lambda: bench.calls(gather))
    await gather.add(Push(n=1))
    await eventually(lambda: len(bench.executed(gather)) == 2)
    await bench.result(gather)
    assert await went_on(bench.client, gather.instance_id)
    *first, second = bench.calls(gather)
    assert [call.attempt for call in first] == list(range(1, 26))
    assert len({call.idempotency_key for call in first}) == 1
    assert {call.run_count for call in first} == {1}
    assert (second.run_count, second.state.ns) == (2, [1])
    failed = bench.events(gather, "job.failed")
    assert [event["attempt"] for event in failed] == list(range(1, 25))
