"""The verbs of a debounce instance, how it ends, and what reaches it while it does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from durable_jobs import JobClient
from durable_jobs.handles import DebounceHandle
from tests.debounce.jobs import Bench, Gather, Held, Prompt, SlowToRetry
from tests.support import eventually
from tests.support.scripted import Push

Verb = Callable[[DebounceHandle[Any, Any]], Awaitable[bool]]
VERBS: dict[str, Verb] = {
    "flush": lambda handle: handle.flush(),
    "clear": lambda handle: handle.clear(),
    "pause": lambda handle: handle.pause(),
    "resume": lambda handle: handle.resume(),
    "terminate": lambda handle: handle.terminate(),
}


async def test_flush_executes_what_waits_at_once(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add(Push(n=1))
    await held.add(Push(n=2))
    assert await held.flush() is True
    result = await bench.result(held)
    assert (result["status"], result["runCount"]) == ("completed", 1)
    [call] = bench.calls(held)
    assert (call.flush_reason, call.state.ns) == ("manual", [1, 2])


async def test_clear_drops_what_waits_and_ends_the_instance(bench: Bench) -> None:
    held = bench.new(Held)
    for n in range(3):
        await held.add(Push(n=n))
    assert await held.clear() is True
    assert await bench.result(held) == {
        "status": "terminated",
        "reason": "cleared",
        "runCount": 0,
        "discardedEvents": 3,
    }
    assert bench.calls(held) == []
    [ended] = await eventually(lambda: bench.events(held, "job.terminated"))
    assert (ended["reason"], ended["discardedEvents"]) == ("cleared", 3)


async def test_clear_ends_a_paused_instance_too(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add(Push())
    await held.pause()
    await held.clear()
    assert (await bench.result(held))["discardedEvents"] == 1


async def test_an_event_after_clear_opens_a_fresh_life(bench: Bench) -> None:
    held = bench.new(Held)
    for n in range(10):
        await held.add(Push(n=n))
        await held.clear()
    await held.add(Push(n=10))

    def cleared() -> int:
        ended = bench.events(held, "job.terminated")
        assert {event["reason"] for event in ended} <= {"cleared"}
        return sum(event["discardedEvents"] for event in ended)

    await eventually(lambda: cleared() == 10)
    await held.flush()
    assert (await bench.result(held))["status"] == "completed"
    assert bench.executed(held) == [10]


async def test_clear_while_a_flush_runs_lets_it_finish(bench: Bench) -> None:
    gather = bench.new(Gather)
    go_on = asyncio.Event()
    bench.book.script(gather.key, lambda _: go_on.wait())
    await gather.add(Push(n=1))
    await eventually(lambda: bench.calls(gather))
    await gather.add(Push(n=2))
    await gather.clear()
    go_on.set()
    result = await bench.result(gather)
    assert (result["status"], result["reason"]) == ("terminated", "cleared")
    assert (result["runCount"], result["discardedEvents"]) == (1, 1)
    assert bench.executed(gather) == [1]


async def test_a_paused_window_gathers_but_does_not_flush(bench: Bench) -> None:
    gather = await bench.paused(Gather)
    await gather.add(Push(n=1))
    assert await gather.pause() is True
    await gather.add(Push(n=2))
    status = await bench.status(gather)
    assert (status.status, status.event_count) == ("paused", 2)
    assert (status.will_flush_at, status.next_run_at) == (None, None)
    await bench.a_window_passes()
    assert bench.calls(gather) == []
    assert await gather.resume() is True
    await bench.result(gather)
    [call] = bench.calls(gather)
    assert (call.state.ns, call.flush_reason) == ([1, 2], "timeout")


async def test_flush_while_paused_runs_once_and_leaves_it_paused(bench: Bench) -> None:
    gather = await bench.paused(Gather)
    await gather.add(Push(n=1))
    await gather.flush()
    await eventually(lambda: bench.events(gather, "debounce.flushed"))
    assert (await bench.status(gather)).status == "paused"
    await gather.add(Push(n=2))
    await bench.a_window_passes()
    assert bench.executed(gather) == [1]
    await gather.resume()
    assert (await bench.result(gather))["status"] == "completed"
    assert bench.executed(gather) == [1, 2]


async def test_a_resumed_instance_without_events_completes(bench: Bench) -> None:
    gather = await bench.paused(Gather)
    await gather.add(Push(n=1))
    await gather.flush()
    await eventually(lambda: bench.events(gather, "debounce.flushed"))
    await gather.resume()
    assert (await bench.result(gather))["status"] == "completed"


async def test_terminate_counts_what_it_drops(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add(Push())
    await held.add(Push())
    assert await held.terminate("moved away") is True
    assert await bench.result(held) == {
        "status": "terminated",
        "reason": "moved away",
        "runCount": 0,
        "discardedEvents": 2,
    }
    [ended] = await eventually(lambda: bench.events(held, "job.terminated"))
    assert (ended["reason"], ended["discardedEvents"]) == ("moved away", 2)
    assert ended["runCount"] == 0


async def test_terminate_stops_a_flush_that_runs_and_counts_its_events(bench: Bench) -> None:
    prompt = bench.new(Prompt)
    stopped = asyncio.Event()

    async def wait_for_ever(_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    bench.book.script(prompt.key, wait_for_ever)
    await prompt.add(Push())
    await prompt.add(Push())
    await prompt.flush()
    await eventually(lambda: bench.calls(prompt))
    await prompt.add(Push())
    await prompt.terminate()
    result = await bench.result(prompt)
    assert (result["status"], result["reason"]) == ("terminated", None)
    assert (result["runCount"], result["discardedEvents"]) == (1, 3)
    await eventually(lambda: bench.events(prompt, "job.terminated"))
    assert bench.events(prompt, "job.failed") == []


async def test_terminate_ends_a_long_backoff(bench: Bench) -> None:
    slow = bench.new(SlowToRetry)

    async def fail(_: object) -> None:
        raise OSError("not now")

    bench.book.script(slow.key, fail)
    await slow.add(Push())
    await eventually(lambda: bench.events(slow, "job.failed"))
    await slow.terminate("given up")
    result = await bench.result(slow)
    assert (result["status"], result["discardedEvents"]) == ("terminated", 1)
    assert len(bench.events(slow, "job.failed")) == 1


async def test_temporals_cancel_is_a_terminate_with_the_reason_cancelled(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add(Push())
    await bench.client.get_workflow_handle(held.instance_id).cancel()
    assert await bench.result(held) == {
        "status": "terminated",
        "reason": "cancelled",
        "runCount": 0,
        "discardedEvents": 1,
    }
    [ended] = await eventually(lambda: bench.events(held, "job.terminated"))
    assert ended["reason"] == "cancelled"


async def test_temporals_cancel_stops_a_flush_that_runs(bench: Bench) -> None:
    prompt = bench.new(Prompt)
    bench.book.script(prompt.key, lambda _: asyncio.Event().wait())
    await prompt.add(Push())
    await prompt.flush()
    await eventually(lambda: bench.calls(prompt))
    await bench.client.get_workflow_handle(prompt.instance_id).cancel()
    result = await bench.result(prompt)
    assert (result["reason"], result["discardedEvents"]) == ("cancelled", 1)


async def test_temporals_own_terminate_shows_as_terminated(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add(Push(n=4))
    await bench.client.get_workflow_handle(held.instance_id).terminate("by hand")
    assert (await bench.status(held)).status == "terminated"
    assert await held.flush() is False
    await held.add(Push(n=5))
    await held.flush()
    await bench.result(held)
    assert bench.executed(held) == [5]


@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_is_false_where_no_instance_is_alive(bench: Bench, verb: str) -> None:
    gather = bench.new(Gather)
    assert await VERBS[verb](gather) is False
    await gather.add(Push())
    await bench.result(gather)
    assert await VERBS[verb](gather) is False
    assert (await bench.status(gather)).status == "completed"


async def test_no_event_is_lost_between_lives(bench: Bench) -> None:
    """Adds race with terminates; each is executed, or counted by the life that dropped it."""
    gather = bench.new(Gather)
    done = asyncio.Event()

    async def add(number: int) -> int:
        added = 0
        while not done.is_set():
            await gather.add(Push(n=number))
            added += 1
        return added

    async def terminate() -> None:
        for _ in range(15):
            await gather.terminate()
            await asyncio.sleep(0.03)
        done.set()

    *added, _ = await asyncio.gather(*(add(n) for n in range(4)), terminate())
    accepted = sum(added)
    await eventually(lambda: _accounted(bench, gather) >= accepted)
    await bench.result(gather)
    assert _accounted(bench, gather) == accepted
    assert bench.events(gather, "job.terminated")


async def test_no_event_is_lost_between_windows_that_complete(bench: Bench) -> None:
    """Adds race with the ends of windows that flush at once."""
    held = bench.new(Held)
    done = asyncio.Event()

    async def add(number: int) -> int:
        added = 0
        while not done.is_set():
            await held.add(Push(n=number))
            added += 1
        return added

    async def flush() -> None:
        for _ in range(30):
            await held.flush()
            await asyncio.sleep(0.02)
        done.set()

    *added, _ = await asyncio.gather(*(add(n) for n in range(4)), flush())
    await held.flush()

    async def all_executed() -> bool:
        await held.flush()
        return len(bench.executed(held)) >= sum(added)

    await eventually(all_executed)
    assert len(bench.executed(held)) == sum(added)


def _accounted(bench: Bench, handle: DebounceHandle[Any, Any]) -> int:
    """Events executed or counted as discarded. A flush that was cut off counts in the latter."""
    flushed = sum(event["eventCount"] for event in bench.events(handle, "debounce.flushed"))
    dropped = sum(event["discardedEvents"] for event in bench.events(handle, "job.terminated"))
    return flushed + dropped


async def test_a_life_after_terminate_numbers_on_and_starts_its_counts_anew(bench: Bench) -> None:
    held = bench.new(Held)
    bench.book.script(held.key, lambda _: asyncio.sleep(0))
    for _ in range(2):
        await held.add(Push())
        await held.flush()
        await bench.result(held)
    first, second = bench.calls(held)
    assert (first.run_count, second.run_count) == (1, 1)
    assert first.idempotency_key != second.idempotency_key


async def test_a_handler_may_end_its_instance_and_what_waits_opens_a_fresh_life(
    bench: Bench,
) -> None:
    gather = bench.new(Gather)
    go_on = asyncio.Event()

    async def end(run: Any) -> None:
        await go_on.wait()
        run.terminate("seen enough")

    bench.book.script(gather.key, end)
    await gather.add(Push(n=1))
    await eventually(lambda: bench.calls(gather))
    await gather.add(Push(n=2))
    go_on.set()
    await eventually(lambda: len(bench.events(gather, "job.terminated")) == 2)
    assert [event["eventCount"] for event in bench.events(gather, "debounce.flushed")] == [1, 1]
    for ended in bench.events(gather, "job.terminated"):
        assert (ended["reason"], ended["discardedEvents"]) == ("seen enough", 0)


async def test_what_a_failing_attempt_did_to_its_run_is_dropped(bench: Bench) -> None:
    gather = bench.new(Gather)

    async def end_then_fail(run: Any) -> None:
        if run.attempt == 1:
            run.terminate("too early")
            run.state.ns.append(99)
            raise OSError("not now")

    bench.book.script(gather.key, end_then_fail)
    await gather.add(Push(n=1))
    assert (await bench.result(gather))["status"] == "completed"
    assert [call.state.ns for call in bench.calls(gather)] == [[1], [1]]


async def test_calls_of_a_run_to_other_jobs_are_made_once_though_attempts_repeat(
    bench: Bench,
) -> None:
    gather, target, control = bench.new(Gather), bench.new(Held), bench.new(Held)
    await control.add(Push())

    async def pass_on(run: Any) -> None:
        jobs: JobClient = run.jobs
        other = jobs.debounce(Held, target.key)
        await other.add(Push(n=1))
        await other.add(Push(n=1))
        receipt = await other.add_confirmed(Push(n=2))
        assert receipt.event_count == 3
        assert receipt.duplicate is (run.attempt > 1)
        assert await jobs.debounce(Held, control.key).flush() is True
        if run.attempt < 3:
            raise OSError("not now")

    bench.book.script(gather.key, pass_on)
    await gather.add(Push())
    await bench.result(gather)
    assert [call.attempt for call in bench.calls(gather)] == [1, 2, 3]
    await target.flush()
    await bench.result(target)
    assert bench.executed(target) == [1, 1, 2]


async def test_a_confirmed_add_to_an_instance_that_ends_opens_a_fresh_life(bench: Bench) -> None:
    for verb in ("clear", "terminate"):
        held = bench.new(Held)
        await held.add(Push(n=1))
        await getattr(held, verb)()
        receipt = await held.add_confirmed(Push(n=2))
        assert (receipt.duplicate, receipt.event_count) == (False, 1)
        await held.flush()
        await bench.result(held)
        assert bench.executed(held) == [2]
