"""What a debounce instance runs and counts that is told to end while a flush is under way."""

import asyncio
from typing import Any

import pytest

from durable_jobs import NonRetryable
from durable_jobs.handles import DebounceHandle
from tests.debounce_jobs import Bench, Gather, GoingOn, Pausing
from tests.jobs import until_status
from tests.scripted import Push
from tests.support import eventually

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
