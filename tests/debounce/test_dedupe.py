"""Events of a job with `dedupe_for`: an id counts once, over windows and over continue-as-new."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from durable_jobs import DefinitionError, JobsPlugin
from durable_jobs.tracking import MemorySink, Tracking
from durable_jobs.workflows import carry
from tests.debounce.jobs import Bench, Gather, ms
from tests.support import eventually
from tests.support.jobs import at_most, new_key, run_id_of, running_worker, until_run, until_status
from tests.support.scripted import Book, Push
from tests.support.skipping import skip_to_the_end


class Once(Gather):
    """Remembers ids for as long as a test may take."""

    name = "once"
    dedupe_for = timedelta(minutes=5)


class Briefly(Gather):
    """Forgets ids soon."""

    name = "briefly"
    flush_after: ClassVar[timedelta | None] = ms(50)
    dedupe_for = ms(400)


class Forgetful(Gather):
    name = "forgetful"


@asynccontextmanager
async def bench_of(client: Client) -> AsyncIterator[Bench]:
    book, sink, queue = Book(), MemorySink(), f"test-{new_key()}"
    jobs = [Once(book), Briefly(book), Forgetful(book)]
    async with running_worker(client, queue, *jobs, tracking=Tracking(sink)) as connected:
        yield Bench(client, queue, connected, book, sink)


@pytest.fixture(scope="module")
async def bench(client: Client) -> AsyncIterator[Bench]:
    async with bench_of(client) as bench:
        yield bench


async def test_an_id_of_an_earlier_window_is_dropped(bench: Bench) -> None:
    once = bench.new(Once)
    await once.add(Push(n=1), id="a")
    await until_run(once, 1)
    receipt = await once.add_confirmed(Push(n=2), id="a")
    assert (receipt.duplicate, receipt.created, receipt.event_count) == (True, False, 0)
    await once.add(Push(n=3), id="b")
    await until_run(once, 2)
    assert bench.executed(once) == [1, 3]
    await once.terminate()
    await bench.result(once)
    flushed = await eventually(lambda: _many(bench.events(once, "debounce.flushed"), 2))
    assert [event["eventCount"] for event in flushed] == [1, 1]


def _many(events: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    return events if len(events) >= count else []


async def test_an_instance_is_idle_until_its_ids_expired_and_completes_then(
    time_skipping: WorkflowEnvironment,
) -> None:
    async with bench_of(time_skipping.client) as bench:
        once = bench.new(Once)
        await once.add(Push(n=1), id="a")
        assert (await until_status(once, "idle")).event_count == 0
        assert (await skip_to_the_end(time_skipping, once))["status"] == "completed"
        await once.add(Push(n=2), id="a")
        await skip_to_the_end(time_skipping, once)
        assert bench.executed(once) == [1, 2]


async def test_an_instance_without_ids_to_remember_completes_after_its_window(
    bench: Bench,
) -> None:
    once = bench.new(Once)
    await once.add(Push(n=1))
    assert (await bench.result(once))["status"] == "completed"


async def test_clear_and_terminate_end_an_instance_that_remembers(bench: Bench) -> None:
    for verb in ("clear", "terminate"):
        once = bench.new(Once)
        await once.add(Push(n=1), id="a")
        await until_status(once, "idle")
        await getattr(once, verb)()
        assert (await bench.result(once))["status"] == "terminated"


async def test_ids_are_remembered_over_continue_as_new(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_LETTERS", 5)
    async with bench_of(client) as bench:
        once = bench.new(Once)
        await once.add(Push(n=1), id="a")
        await until_run(once, 1)
        first = await run_id_of(client, once.instance_id)
        for _ in range(8):
            await once.add(Push(n=2), id="a")
        receipt = await once.add_confirmed(Push(n=2), id="a")
        last = await run_id_of(client, once.instance_id)
        assert (receipt.duplicate, last != first) == (True, True)
        assert bench.executed(once) == [1]
        await once.terminate()
        await bench.result(once)


async def test_a_life_with_remembered_ids_replays(bench: Bench, client: Client) -> None:
    briefly = bench.new(Briefly)
    await briefly.add(Push(n=1), id="a")
    await bench.result(briefly)
    history = await client.get_workflow_handle(briefly.instance_id).fetch_history()
    # It ended by the timer of its memory, not with its only window.
    assert sum(event.HasField("timer_fired_event_attributes") for event in history.events) == 2
    replayer = Replayer(workflows=[], plugins=[JobsPlugin([Briefly(Book())])])
    await replayer.replay_workflow(history)


@pytest.mark.parametrize("span", [timedelta(0), 5, ms(100)])
def test_a_dedupe_for_that_makes_no_sense_is_refused(span: Any) -> None:
    wrong = type("Wrong", (Gather,), {"name": "wrong", "dedupe_for": span})
    with pytest.raises(DefinitionError, match="dedupe_for"):
        JobsPlugin([wrong(Book())])


async def test_an_id_that_is_being_flushed_may_come_again_unless_ids_are_remembered(
    client: Client,
) -> None:
    async with bench_of(client) as bench:
        for job, expected in ((Once, [1]), (Forgetful, [1, 2])):
            release = asyncio.Event()
            handle = bench.new(job)
            bench.book.script(handle.key, lambda run, release=release: release.wait())
            await handle.add(Push(n=1), id="a")
            await eventually(lambda handle=handle: bench.calls(handle))
            receipt = await handle.add_confirmed(Push(n=2), id="a")
            assert receipt.duplicate is (job is Once)
            release.set()
            await until_run(handle, len(expected))
            assert bench.executed(handle) == expected
            await handle.terminate()


@pytest.mark.parametrize("on_exhausted", ["pause", "continue"])
async def test_an_id_that_an_exhausted_run_brings_back_is_rejected(
    client: Client, on_exhausted: str
) -> None:
    """Accepted while the run went on, it is now of one window with the one that failed."""
    job: Any = type("Again", (Gather,), {"name": "again", "on_exhausted": on_exhausted})
    job.retry = at_most(1)
    book, queue, release = Book(), new_key(), asyncio.Event()
    async with running_worker(client, queue, job(book)) as jobs:
        handle = jobs.debounce(job, new_key())

        async def fail(run: Any) -> None:
            if run.run_count == 1:
                await release.wait()
                raise OSError("full")

        book.script(handle.key, fail)
        await handle.add(Push(n=1), id="a")
        await eventually(lambda: book.of(handle.key))
        assert not (await handle.add_confirmed(Push(n=2), id="a")).duplicate
        await handle.add(Push(n=3))
        release.set()
        await eventually(lambda: _told_rejected(handle))
        await handle.flush()
        await client.get_workflow_handle(handle.instance_id).result()
        status = await handle.status()
        assert [call.state.ns for call in book.of(handle.key)] == [[1], [1, 3]]
        assert [entry.id for entry in status.rejections] == ["a"]


async def _told_rejected(handle: Any) -> bool:
    return (await handle.status()).rejected_events == 1


async def flushing(bench: Bench, handle: Any, script: Any = None) -> asyncio.Event:
    """An event of the id `first` that is being flushed until this is set, then does the script."""
    go_on = asyncio.Event()

    async def held(run: Any) -> None:
        await go_on.wait()
        if script is not None:
            script(run)

    bench.book.script(handle.key, held)
    await handle.add(Push(n=1), id="first")
    await eventually(lambda: bench.calls(handle))
    return go_on


@pytest.mark.parametrize("verb", ["clear", "terminate"])
async def test_an_event_that_was_dropped_may_come_again_before_the_life_has_ended(
    bench: Bench, verb: str
) -> None:
    once = bench.new(Once)
    go_on = await flushing(bench, once)
    await once.add(Push(n=2), id="a")
    await getattr(once, verb)()
    await once.add(Push(n=3), id="a")
    go_on.set()
    await eventually(lambda: bench.executed(once) == [1, 3])
    await once.terminate()
    await bench.result(once)


async def test_a_handlers_end_forgets_all_ids_but_those_of_the_events_behind_it(
    bench: Bench,
) -> None:
    once = bench.new(Once)

    def end_first(run: Any) -> None:
        if 1 in run.state.ns:
            run.terminate("seen enough")

    go_on = await flushing(bench, once, end_first)
    await once.add(Push(n=2), id="behind")
    go_on.set()
    await eventually(lambda: bench.executed(once) == [1, 2])
    await until_status(once, "idle")
    assert (await once.add_confirmed(Push(n=3), id="behind")).duplicate
    assert not (await once.add_confirmed(Push(n=4), id="first")).duplicate
    await once.terminate()
    await bench.result(once)
