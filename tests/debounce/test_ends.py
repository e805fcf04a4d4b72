"""What a debounce instance runs and counts that is told to end while a flush is under way."""

import asyncio
from typing import Any

import pytest

from durable_jobs import NonRetryable
from durable_jobs.handles import DebounceHandle
from durable_jobs.names import OUTBOX_QUERY
from durable_jobs.workflows import carry
from tests.debounce.jobs import Bench, Ending, Gather, GoingOn, Pausing, SlowToRetry
from tests.support import eventually
from tests.support.jobs import until_status, went_on
from tests.support.scripted import Push

Handle = DebounceHandle[Any, Any]


async def flushing(bench: Bench, handle: Handle) -> asyncio.Event:
    """An event that is being flushed, until this is set; then the flush does what is scripted."""
    go_on, script = asyncio.Event(), bench.book.scripts.get(handle.key)

    async def held(run: Any) -> None:
        await go_on.wait()
        if script is not None:
            await script(run)

    bench.book.script(handle.key, held)
    await handle.add(Push(n=1))
    await eventually(lambda: bench.calls(handle))
    return go_on


async def fail_for_good(_: Any) -> None:
    raise NonRetryable("never")


async def end_it(run: Any) -> None:
    run.terminate("seen enough")


async def fail(_: Any) -> None:
    raise OSError("not now")


def discarded(bench: Bench, handle: Handle) -> int:
    """Events that the instance's lives say they dropped."""
    ends = bench.events(handle, "job.terminated")
    return sum(event["discardedEvents"] for event in ends)


@pytest.mark.parametrize("job", [Pausing, GoingOn])
async def test_a_flush_that_fails_for_good_while_a_caller_ends_the_instance_is_discarded(
    bench: Bench, job: type[Gather]
) -> None:
    handle = bench.new(job)
    bench.book.script(handle.key, fail_for_good)
    go_on = await flushing(bench, handle)
    await handle.add(Push(n=2))
    await handle.terminate("moved away")
    await until_status(handle, "terminating")
    go_on.set()
    assert await bench.result(handle) == {
        "status": "terminated",
        "reason": "moved away",
        "runCount": 1,
        "discardedEvents": 2,
    }
    assert len(bench.calls(handle)) == 1
    assert len(await eventually(lambda: bench.events(handle, "job.failed"))) == 1


async def test_what_was_cleared_during_a_flush_counts_when_a_caller_ends_the_instance(
    bench: Bench,
) -> None:
    gather = bench.new(Gather)
    go_on = await flushing(bench, gather)
    for n in range(5):
        await gather.add(Push(n=n))
    await gather.clear()
    await gather.terminate("moved away")
    await until_status(gather, "terminating")
    go_on.set()
    result = await bench.result(gather)
    assert (result["reason"], result["discardedEvents"]) == ("moved away", 5)
    assert bench.executed(gather) == [1]


@pytest.mark.parametrize(
    ("job", "script", "lost"), [(Ending, fail_for_good, 1), (Gather, end_it, 0)]
)
async def test_what_was_cleared_during_a_flush_counts_when_the_flush_ends_the_instance(
    bench: Bench, job: type[Gather], script: Any, lost: int
) -> None:
    handle = bench.new(job)
    bench.book.script(handle.key, script)
    go_on = await flushing(bench, handle)
    for n in range(5):
        await handle.add(Push(n=n))
    await handle.clear()
    go_on.set()
    await eventually(lambda: discarded(bench, handle) == 5 + lost)
    assert len(bench.calls(handle)) == 1


async def test_what_was_cleared_during_a_flush_counts_for_who_speaks_for_the_instance(
    bench: Bench,
) -> None:
    gather = bench.new(Gather)
    go_on = await flushing(bench, gather)
    for n in range(5):
        await gather.add(Push(n=n))
    await gather.clear()
    raw = bench.client.get_workflow_handle(gather.instance_id)
    assert (await raw.query(OUTBOX_QUERY))["discarded"] == 6
    go_on.set()
    assert (await bench.result(gather))["discardedEvents"] == 5


async def test_what_was_cleared_during_a_flush_is_counted_over_continue_as_new(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_LETTERS", 10)
    slow = bench.new(SlowToRetry)
    bench.book.script(slow.key, fail)
    await slow.add(Push(n=0))
    await until_status(slow, "retrying")
    for n in range(5):
        await slow.add(Push(n=n))
    await slow.clear()
    for n in range(7):
        await slow.add(Push(n=n))
    await eventually(lambda: went_on(bench.client, slow.instance_id))
    assert (await bench.status(slow)).status == "retrying"
    await slow.terminate("given up")
    result = await bench.result(slow)
    assert (result["reason"], result["discardedEvents"]) == ("given up", 13)
