"""`leading`: the first event of a quiet instance runs at once, alone; those after it gather."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from durable_jobs.handles import DebounceHandle
from durable_jobs.tracking import MemorySink, Tracking
from durable_jobs.workflows import carry
from tests.debounce.jobs import Bench, Gather, ms
from tests.support import eventually
from tests.support.jobs import at_most, new_key, running_worker, status_of, until_run, until_status
from tests.support.scripted import Book, Push
from tests.support.skipping import HOUR, skip_to_the_end


class Eager(Gather):
    name = "eager"
    leading = True
    flush_after = timedelta(minutes=1)
    quiet_for = ms(300)


class Patient(Eager):
    """Is quiet again after an hour, on a server that skips it."""

    name = "patient"
    flush_after = timedelta(days=1)
    quiet_for = HOUR


class Throttled(Gather):
    """Is not quiet again while a test runs."""

    name = "throttled"
    leading = True
    flush_after = timedelta(hours=1)


class Stubborn(Throttled):
    name = "stubborn"
    retry = at_most(2)


class Yielding(Stubborn):
    name = "yielding"
    on_exhausted = "continue"


class Fussy(Throttled):
    name = "fussy"
    dedupe_for = timedelta(hours=2)


JOBS = (Eager, Patient, Throttled, Stubborn, Yielding, Fussy)


@pytest.fixture(scope="module")
async def bench(client: Client) -> AsyncIterator[Bench]:
    async with leading_bench(client) as bench:
        yield bench


@asynccontextmanager
async def leading_bench(client: Client) -> AsyncIterator[Bench]:
    book, sink, queue = Book(), MemorySink(), f"test-{new_key()}"
    jobs = [job(book) for job in JOBS]
    async with running_worker(client, queue, *jobs, tracking=Tracking(sink)) as connected:
        yield Bench(client, queue, connected, book, sink)


def runs(bench: Bench, handle: DebounceHandle[Any, Any]) -> list[tuple[str, list[int]]]:
    """Why each run was made, and the numbers it had; first attempts alone."""
    calls = [call for call in bench.calls(handle) if call.attempt == 1]
    return [(call.flush_reason, call.state.ns) for call in calls]


async def tracked(bench: Bench, handle: DebounceHandle[Any, Any], count: int) -> list[str]:
    """The types of an instance's tracking events, in order, once there are so many."""

    def there() -> list[str] | None:
        found = [e for e in bench.sink.events if e["instanceId"] == handle.instance_id]
        kinds = [e["type"] for e in sorted(found, key=lambda e: e["sequence"])]
        return kinds if len(kinds) >= count else None

    return await eventually(there)


async def test_the_first_event_runs_at_once_and_alone_and_is_tracked_as_a_run_only(
    bench: Bench,
) -> None:
    eager = bench.new(Eager)
    await eager.add(Push(n=1))
    result = await bench.result(eager)
    assert (result["status"], result["runCount"]) == ("completed", 1)
    assert runs(bench, eager) == [("leading", [1])]
    assert await tracked(bench, eager, 1) == ["job.executed"]


async def test_events_after_it_gather_into_a_window_of_their_own(
    time_skipping: WorkflowEnvironment,
) -> None:
    async with leading_bench(time_skipping.client) as bench:
        patient = bench.new(Patient)
        await patient.add(Push(n=1))
        await until_run(patient, 1)
        before = await time_skipping.get_current_time()
        await patient.add(Push(n=2))
        await patient.add(Push(n=3))
        assert (await skip_to_the_end(time_skipping, patient))["runCount"] == 2
        assert runs(bench, patient) == [("leading", [1]), ("quiet", [2, 3])]
        opened_at = bench.calls(patient)[1].window_opened_at
        assert before <= opened_at < before + Patient.flush_after
        kinds = ["job.executed", "debounce.started", "job.executed", "debounce.flushed"]
        assert await tracked(bench, patient, 4) == kinds


async def test_events_added_together_lead_with_the_first(bench: Bench) -> None:
    eager = bench.new(Eager)
    await eager.add_many(Push(n=n) for n in range(5))
    await bench.result(eager)
    assert runs(bench, eager) == [("leading", [0]), ("quiet", [1, 2, 3, 4])]


async def test_an_event_within_the_quiet_time_does_not_lead_and_one_after_it_does(
    time_skipping: WorkflowEnvironment,
) -> None:
    async with leading_bench(time_skipping.client) as bench:
        patient = bench.new(Patient)
        await patient.add(Push(n=1))
        await until_run(patient, 1)
        assert (await bench.status(patient)).status == "idle"
        await patient.add(Push(n=2))
        await skip_to_the_end(time_skipping, patient)
        await patient.add(Push(n=3))
        await skip_to_the_end(time_skipping, patient)
        assert [reason for reason, _ in runs(bench, patient)] == ["leading", "quiet", "leading"]


async def test_events_that_come_while_the_leading_run_goes_on_wait_for_the_next(
    bench: Bench,
) -> None:
    eager = bench.new(Eager)
    release = asyncio.Event()

    async def wait(run: Any) -> None:
        await release.wait()

    bench.book.script(eager.key, wait)
    await eager.add(Push(n=1))
    await eventually(lambda: bench.calls(eager))
    await eager.add(Push(n=2))
    await eager.add(Push(n=3))
    release.set()
    await bench.result(eager)
    assert runs(bench, eager) == [("leading", [1]), ("quiet", [2, 3])]


async def test_a_flush_takes_what_gathered_behind_it(bench: Bench) -> None:
    throttled = bench.new(Throttled)
    await throttled.add(Push(n=1))
    await throttled.add(Push(n=2))
    await throttled.flush()
    await until_run(throttled, 2)
    assert runs(bench, throttled) == [("leading", [1]), ("manual", [2])]
    # It is not quiet for an hour; what comes now gathers.
    await throttled.add(Push(n=3))
    status = await until_status(throttled, "debouncing")
    assert (status.run_count, status.event_count) == (2, 1)
    await throttled.clear()
    assert (await bench.result(throttled))["discardedEvents"] == 1


async def test_add_confirmed_tells_that_an_event_leads_and_when_the_others_flush(
    bench: Bench,
) -> None:
    throttled = bench.new(Throttled)
    before = datetime.now(UTC)
    first, second = await asyncio.gather(
        throttled.add_confirmed(Push(n=1)), throttled.add_confirmed(Push(n=2))
    )
    assert first.will_flush_at
    assert second.will_flush_at
    assert (first.created, first.event_count) == (True, 1)
    after = datetime.now(UTC)
    assert before <= first.will_flush_at <= after
    assert before <= second.will_flush_at - timedelta(hours=1) <= after
    await throttled.terminate()


async def _waits_with(handle: DebounceHandle[Any, Any], count: int) -> bool:
    return (await status_of(handle)).event_count == count


async def test_a_paused_instance_does_not_lead(bench: Bench) -> None:
    throttled = await bench.paused(Throttled)
    await throttled.add(Push(n=1))
    await throttled.add(Push(n=2))
    # A `resume` goes ahead of what waits: the events have to come before it.
    await eventually(lambda: _waits_with(throttled, 2))
    await throttled.resume()
    status = await until_status(throttled, "debouncing")
    assert (status.run_count, status.event_count) == (0, 2)
    await throttled.flush()
    await bench.result(throttled)
    assert runs(bench, throttled) == [("manual", [1, 2])]


async def test_a_leading_run_is_tried_again_while_events_gather(bench: Bench) -> None:
    throttled = bench.new(Throttled)

    async def fail_first(run: Any) -> None:
        if run.attempt < 3:
            raise OSError("full")

    bench.book.script(throttled.key, fail_first)
    await throttled.add(Push(n=1))
    await throttled.add(Push(n=2))
    await until_run(throttled, 1)
    assert [call.attempt for call in bench.calls(throttled)] == [1, 2, 3]
    assert (await bench.status(throttled)).event_count == 1
    await throttled.terminate()
    assert (await bench.result(throttled))["discardedEvents"] == 1


async def test_an_exhausted_leading_run_keeps_its_event_with_those_that_gathered(
    bench: Bench,
) -> None:
    stubborn = bench.new(Stubborn)

    async def fail_leading(run: Any) -> None:
        if run.flush_reason == "leading":
            raise OSError("full")

    bench.book.script(stubborn.key, fail_leading)
    await stubborn.add(Push(n=1))
    await until_status(stubborn, "paused")
    await stubborn.add(Push(n=2))
    assert (await bench.status(stubborn)).event_count == 2
    await stubborn.flush()
    await until_run(stubborn, 2)
    assert runs(bench, stubborn) == [("leading", [1]), ("manual", [1, 2])]
    kinds = ["job.failed", "job.failed", "job.retryExhausted", "job.paused", "debounce.started"]
    assert (await tracked(bench, stubborn, 7))[:5] == kinds
    await stubborn.terminate()


async def test_an_exhausted_leading_run_may_leave_its_event_to_the_next_window(
    bench: Bench,
) -> None:
    yielding = bench.new(Yielding)

    async def fail_leading(run: Any) -> None:
        if run.flush_reason == "leading":
            raise OSError("full")

    bench.book.script(yielding.key, fail_leading)
    await yielding.add(Push(n=1))
    await until_status(yielding, "debouncing")
    await yielding.add(Push(n=2))
    await yielding.flush()
    await until_run(yielding, 2)
    assert runs(bench, yielding) == [("leading", [1]), ("manual", [1, 2])]
    await yielding.terminate()


async def test_the_id_of_a_leading_event_is_known_to_the_window_behind_it(bench: Bench) -> None:
    for job in (Throttled, Fussy):
        handle = bench.new(job)
        await handle.add(Push(n=1), id="a")
        await until_run(handle, 1)
        receipt = await handle.add_confirmed(Push(n=2), id="a")
        assert (receipt.duplicate, receipt.event_count) == (True, 0)
        await handle.add(Push(n=3), id="b")
        await handle.flush()
        await until_run(handle, 2)
        assert runs(bench, handle) == [("leading", [1]), ("manual", [3])]
        await handle.terminate()


async def test_an_event_that_is_rejected_leads_nothing(bench: Bench) -> None:
    throttled = bench.new(Throttled)
    raw = bench.client.get_workflow_handle(throttled.instance_id)
    await throttled.add(Push(n=0, note="raise"))
    result = await raw.result()
    assert (result["status"], result["runCount"]) == ("completed", 0)
    await throttled.add(Push(n=1))
    await until_run(throttled, 1)
    assert runs(bench, throttled) == [("leading", [1])]
    await throttled.terminate()


async def test_a_malformed_signal_opens_a_window_that_ends_by_itself(bench: Bench) -> None:
    eager = bench.new(Eager)
    await bench.client.start_workflow(
        "DebounceJob",
        {"job": "eager", "key": eager.key},
        id=eager.instance_id,
        task_queue=bench.queue,
        start_signal="add_batch",
        start_signal_args=[5],
    )
    assert (await bench.result(eager))["runCount"] == 0
    assert await tracked(bench, eager, 2) == ["debounce.started", "debounce.flushed"]


async def test_an_instance_stays_unquiet_over_continue_as_new(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_LETTERS", 5)
    throttled = bench.new(Throttled)
    raw = bench.client.get_workflow_handle(throttled.instance_id)
    await throttled.add(Push(n=0))
    await until_run(throttled, 1)
    first = (await raw.describe()).run_id
    for n in range(1, 12):
        await throttled.add(Push(n=n))

    async def went_on() -> bool:
        return (await raw.describe()).run_id != first

    await eventually(went_on)
    await throttled.flush()
    await until_run(throttled, 2)
    assert runs(bench, throttled) == [("leading", [0]), ("manual", list(range(1, 12)))]
    await throttled.terminate()


async def test_what_came_after_an_end_leads_the_fresh_life(bench: Bench) -> None:
    throttled = bench.new(Throttled)
    await throttled.add(Push(n=1))
    await until_run(throttled, 1)
    await throttled.terminate()
    await throttled.add(Push(n=2))
    await eventually(lambda: len(runs(bench, throttled)) == 2)
    assert runs(bench, throttled)[1] == ("leading", [2])
    await throttled.terminate()


async def test_the_life_behind_a_leading_run_that_ended_its_own_does_not_know_its_event(
    bench: Bench,
) -> None:
    throttled = bench.new(Throttled)
    go_on = asyncio.Event()

    async def end(run: Any) -> None:
        await go_on.wait()
        run.terminate("seen enough")

    bench.book.script(throttled.key, end)
    await throttled.add(Push(n=1), id="leading")
    await eventually(lambda: bench.calls(throttled))
    await throttled.add(Push(n=2), id="behind")
    go_on.set()
    await eventually(lambda: bench.events(throttled, "job.terminated"))
    assert (await throttled.add_confirmed(Push(n=3), id="behind")).duplicate
    assert not (await throttled.add_confirmed(Push(n=4), id="leading")).duplicate
    await throttled.terminate()
    assert (await bench.result(throttled))["discardedEvents"] == 2
