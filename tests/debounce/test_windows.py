"""Windows of debounce jobs: what they gather, when they flush, what `execute` sees."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from durable_jobs import InvalidKey, JobClient
from tests.debounce.jobs import (
    Bench,
    Counted,
    Gather,
    Held,
    Latest,
    Quiet,
    Sized,
    ms,
)
from tests.support import eventually
from tests.support.jobs import let_pass, new_key, result_of, running_worker
from tests.support.scripted import Book, Push, Total


async def test_one_event_opens_a_window_and_is_executed_once(bench: Bench) -> None:
    gather = bench.new(Gather)
    await gather.add(Push(n=7))
    assert await bench.result(gather) == {
        "status": "completed",
        "reason": None,
        "runCount": 1,
        "discardedEvents": 0,
    }
    [call] = bench.calls(gather)
    assert call.state == Total(ns=[7])
    assert (call.event_count, call.run_count, call.attempt, call.is_retry) == (1, 1, 1, False)
    assert (call.job_name, call.key, call.instance_id) == (
        "gather",
        gather.key,
        f"debounce:gather:{gather.key}",
    )


async def test_many_events_of_a_window_are_executed_together_in_order(bench: Bench) -> None:
    held = bench.new(Held)
    for n in range(10):
        await held.add(Push(n=n))
    await held.flush()
    await bench.result(held)
    assert [call.state.ns for call in bench.calls(held)] == [list(range(10))]


async def test_without_a_reduce_of_its_own_a_job_keeps_the_latest_event(bench: Bench) -> None:
    latest = bench.new(Latest)
    for n in range(3):
        await latest.add(Push(n=n, note=f"number {n}"))
    await latest.flush()
    await bench.result(latest)
    [call] = bench.calls(latest)
    assert call.state == Push(n=2, note="number 2")
    assert call.event_count == 3


async def test_a_later_window_begins_with_an_empty_state(bench: Bench) -> None:
    gather = bench.new(Gather)
    for n in (1, 2):
        await gather.add(Push(n=n))
        await bench.result(gather)
    assert [call.state.ns for call in bench.calls(gather)] == [[1], [2]]


async def test_flush_after_counts_from_the_first_event_of_the_window(bench: Bench) -> None:
    gather = bench.new(Gather)
    before = datetime.now(UTC)
    await gather.add(Push())
    after = datetime.now(UTC)
    await bench.result(gather)
    [call] = bench.calls(gather)
    assert call.flush_reason == "timeout"
    assert call.window_opened_at.utcoffset() == timedelta()
    assert before - ms(5) <= call.window_opened_at <= after


async def test_a_window_flushes_once_no_event_came_for_quiet_for(
    time_skipping: WorkflowEnvironment, queue: str
) -> None:
    book, key = Book(), new_key()
    async with running_worker(time_skipping.client, queue, Quiet(book)) as jobs:
        quiet = jobs.debounce(Quiet, key)
        for n in range(3):
            await quiet.add(Push(n=n))
            # Each event puts the flush off.
            await time_skipping.sleep(6)
        assert book.of(key) == []
        await result_of(time_skipping.client, quiet.instance_id)
        flushed_at = await time_skipping.get_current_time()
    [call] = book.of(key)
    assert (call.flush_reason, call.event_count) == ("quiet", 3)
    waited = (flushed_at - call.window_opened_at).total_seconds()
    assert 22 <= waited < 25


async def test_flush_after_wins_over_a_window_that_never_becomes_quiet(
    time_skipping: WorkflowEnvironment, queue: str
) -> None:
    book, key = Book(), new_key()
    async with running_worker(time_skipping.client, queue, Quiet(book)) as jobs:
        quiet = jobs.debounce(Quiet, key)
        for n in range(5):
            await quiet.add(Push(n=n))
            await time_skipping.sleep(6)
        await result_of(time_skipping.client, quiet.instance_id)
    [call] = book.of(key)
    assert (call.flush_reason, call.state.ns) == ("timeout", [0, 1, 2, 3, 4])


async def test_a_window_flushes_at_once_when_max_events_were_received(bench: Bench) -> None:
    counted = bench.new(Counted)
    for n in range(3):
        await counted.add(Push(n=n))
    await bench.result(counted)
    [call] = bench.calls(counted)
    assert (call.flush_reason, call.event_count) == ("max_events", 3)


async def test_max_events_triggers_a_flush_but_cuts_no_batch_in_two(bench: Bench) -> None:
    counted = bench.new(Counted)
    batch = [{"data": {"n": n}} for n in range(5)]
    await bench.client.start_workflow(
        "DebounceJob",
        {"job": "counted", "key": counted.key},
        id=counted.instance_id,
        task_queue=bench.queue,
        start_signal="add_batch",
        start_signal_args=[{"events": batch}],
    )
    await bench.result(counted)
    assert [call.state.ns for call in bench.calls(counted)] == [[0, 1, 2, 3, 4]]


async def test_a_window_flushes_at_once_when_max_bytes_were_received(bench: Bench) -> None:
    sized = bench.new(Sized)
    await sized.add(Push(note="x" * 100))
    assert (await bench.status(sized)).status == "debouncing"
    await sized.add(Push(note="x" * 200))
    await bench.result(sized)
    [call] = bench.calls(sized)
    assert (call.flush_reason, call.event_count) == ("max_bytes", 2)


async def test_an_event_id_seen_in_the_window_is_dropped(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add(Push(n=1), id="a")
    await held.add(Push(n=2), id="b")
    await held.add(Push(n=3), id="a")
    await held.flush()
    await bench.result(held)
    assert bench.executed(held) == [1, 2]


async def test_an_event_id_counts_anew_in_the_next_window(bench: Bench) -> None:
    gather = bench.new(Gather)
    for n in (1, 2):
        await gather.add(Push(n=n), id="a")
        await bench.result(gather)
    assert bench.executed(gather) == [1, 2]


async def test_a_confirmed_add_tells_what_the_instance_made_of_it(bench: Bench) -> None:
    held = bench.new(Held)
    before = datetime.now(UTC)
    first = await held.add_confirmed(Push(), id="a")
    second = await held.add_confirmed(Push())
    again = await held.add_confirmed(Push(), id="a")
    assert (first.created, first.duplicate, first.event_count) == (True, False, 1)
    assert (second.created, second.duplicate, second.event_count) == (False, False, 2)
    assert (again.created, again.duplicate, again.event_count) == (False, True, 2)
    assert first.will_flush_at == second.will_flush_at
    assert first.will_flush_at
    assert before <= first.will_flush_at - timedelta(hours=1) <= datetime.now(UTC)
    await held.flush()
    await bench.result(held)
    fresh = await held.add_confirmed(Push(), id="a")
    assert (fresh.created, fresh.duplicate, fresh.event_count) == (True, False, 1)
    await held.terminate()


async def test_a_confirmed_add_after_plain_ones_created_nothing(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add(Push())
    receipt = await held.add_confirmed(Push())
    assert (receipt.created, receipt.event_count) == (False, 2)
    await held.terminate()


async def test_events_added_while_a_flush_runs_go_to_the_next_window(bench: Bench) -> None:
    gather = bench.new(Gather)
    go_on = asyncio.Event()
    bench.book.script(gather.key, lambda _: go_on.wait())
    await gather.add(Push(n=1))
    await eventually(lambda: bench.calls(gather))
    for n in (2, 3):
        await gather.add(Push(n=n))
    # The next window is due while the first flush still runs, and waits for its end.
    await bench.a_window_passes()
    assert len(bench.calls(gather)) == 1
    go_on.set()
    result = await bench.result(gather)
    assert [call.state.ns for call in bench.calls(gather)] == [[1], [2, 3]]
    assert result["runCount"] == 2


async def test_events_added_during_a_backoff_go_to_the_next_window(bench: Bench) -> None:
    gather = bench.new(Gather)
    failing = True

    async def fail(_: object) -> None:
        if failing:
            raise OSError("not now")

    bench.book.script(gather.key, fail)
    await gather.add(Push(n=1))
    await eventually(lambda: len(bench.calls(gather)) >= 2)
    await gather.add(Push(n=2))
    failing = False
    await bench.result(gather)
    assert {tuple(call.state.ns) for call in bench.calls(gather)[:-1]} == {(1,)}
    assert bench.calls(gather)[-1].state.ns == [2]


async def test_keys_are_apart_from_each_other(bench: Bench) -> None:
    handles = [bench.new(Gather) for _ in range(5)]
    for n, handle in enumerate(handles):
        await handle.add(Push(n=n))
    for handle in handles:
        await bench.result(handle)
    assert [bench.executed(handle) for handle in handles] == [[0], [1], [2], [3], [4]]


@pytest.mark.parametrize(
    "key", ["octo:cat/hello:1", ":", "ключ/鍵/🔑", " spaced out ", "quo\"te'%_\\", "k" * 224]
)
async def test_a_key_may_hold_anything(bench: Bench, key: str) -> None:
    gather = bench.new(Gather, key)
    await gather.add(Push(n=3))
    await bench.result(gather)
    [call] = bench.calls(gather)
    assert (call.key, call.instance_id) == (key, f"debounce:gather:{key}")
    assert (await bench.status(gather)).key == key


@pytest.mark.parametrize("key", ["", "k" * 225, 5, None, "\ud800"])
def test_a_key_that_cannot_name_an_instance_is_refused(bench: Bench, key: str) -> None:
    with pytest.raises(InvalidKey, match="gather"):
        bench.jobs.debounce(Gather, key)


async def test_a_burst_from_many_callers_is_executed_to_the_last_event_once(bench: Bench) -> None:
    gather = bench.new(Gather)

    async def caller(number: int) -> None:
        for n in range(6):
            await gather.add(Push(n=number * 6 + n))

    await asyncio.gather(*(caller(number) for number in range(50)))
    await eventually(lambda: len(bench.executed(gather)) >= 300)
    await bench.result(gather)
    assert sorted(bench.executed(gather)) == list(range(300))
    for number in range(50):
        own = [n for n in bench.executed(gather) if n // 6 == number]
        assert own == sorted(own)


async def test_a_tracked_window_of_one_event_takes_at_most_24_history_events(
    bench: Bench,
) -> None:
    gather = bench.new(Gather)
    await gather.add(Push())
    await bench.result(gather)
    history = await bench.client.get_workflow_handle(gather.instance_id).fetch_history()
    assert len(history.events) <= 24
    await eventually(lambda: bench.events(gather, "debounce.flushed"))


async def test_of_two_rules_that_held_while_no_worker_ran_the_first_is_the_reason(
    client: Client, queue: str
) -> None:
    book = Book()
    soon = JobClient(client, task_queue=queue).debounce(Soon, new_key())
    await soon.add(Push())
    await let_pass(2 * ms(100))
    async with running_worker(client, queue, Soon(book)):
        await result_of(client, soon.instance_id)
    assert [call.flush_reason for call in book.of(soon.key)] == ["quiet"]


class Soon(Gather):
    name = "soon"
    flush_after = ms(100)
    quiet_for = ms(50)
