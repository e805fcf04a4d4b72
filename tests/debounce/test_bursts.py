"""A debounce instance under load: many events at once, adds that never stop, more than it bears."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import Busy, DebounceJob, DebounceRun
from durable_jobs.handles import batch, scale
from durable_jobs.workflows import carry
from tests.debounce.jobs import Bench, Gather, ms
from tests.support import eventually
from tests.support.jobs import QUICK, new_key, running_worker
from tests.support.scripted import Book, Push


class Sum(DebounceJob[int]):
    """A state that stays small."""

    name = "sum"
    flush_after = timedelta(hours=1)
    retry = QUICK

    def __init__(self, book: Book) -> None:
        self.book = book

    def reduce(self, state: int | None, event: int) -> int:
        return (state or 0) + event

    async def execute(self, run: DebounceRun[int]) -> None:
        await self.book.play("execute", run)


class Busyness(Sum):
    name = "busyness"
    flush_after = ms(100)


@pytest.fixture(scope="module")
async def bench(client: Client) -> AsyncIterator[Bench]:
    book, queue = Book(), f"test-{new_key()}"
    jobs = [Sum(book), Busyness(book), Gather(book)]
    async with running_worker(client, queue, *jobs) as connected:
        yield Bench(client, queue, connected, book, None)  # type: ignore[arg-type]


async def histories(bench: Bench, handle: Any) -> list[tuple[int, int]]:
    """How many events and bytes each run of an instance has."""
    found: list[tuple[int, int]] = []
    async for run in bench.client.list_workflows(f"WorkflowId = '{handle.instance_id}'"):
        raw = bench.client.get_workflow_handle(handle.instance_id, run_id=run.run_id)
        info = (await raw.describe()).raw_description.workflow_execution_info
        found.append((info.history_length, info.history_size_bytes))
    return found


async def test_a_window_of_100_000_events_runs_once_and_its_history_stays_short(
    bench: Bench,
) -> None:
    window = bench.new(Sum)
    await window.add_many([1] * 100_000)
    assert (await bench.status(window)).event_count == 100_000
    await window.flush()
    async with asyncio.timeout(90):
        await bench.result(window)
    assert [(call.event_count, call.state) for call in bench.calls(window)] == [(100_000, 100_000)]
    for events, size in await histories(bench, window):
        assert events < 1_000
        assert size < 10_000_000


async def test_adds_that_never_stop_keep_no_window_and_no_continue_as_new_from_coming(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_LETTERS", 100)
    busy, over = bench.new(Busyness), asyncio.Event()
    added = 0

    async def call() -> None:
        nonlocal added
        while not over.is_set():
            await busy.add(1)
            added += 1

    async def went_on() -> bool:
        runs = await histories(bench, busy)
        return len(runs) >= 4 and len(bench.calls(busy)) >= 5

    async with asyncio.TaskGroup() as callers:
        for _ in range(20):
            callers.create_task(call())
        await eventually(went_on, within=90, every=0.3)
        over.set()
    await bench.result(busy)
    await eventually(lambda: sum(call.state for call in bench.calls(busy)) == added)
    # Signals that came before a run could go on are in its history too.
    assert max(events for events, _ in await histories(bench, busy)) < 2_000


async def test_windows_of_a_busy_key_follow_one_another_in_one_run_of_the_workflow(
    bench: Bench,
) -> None:
    busy, release = bench.new(Busyness), asyncio.Event()
    bench.book.script(busy.key, lambda _: release.wait())
    await busy.add(1)
    raw = bench.client.get_workflow_handle(busy.instance_id)
    first = (await raw.describe()).run_id
    for number in range(1, 6):
        await eventually(lambda number=number: len(bench.calls(busy)) == number)
        # While a run is under way, the next window gathers.
        await busy.add(1)
        release.set()
        release.clear()
    assert (await raw.describe()).run_id == first
    release.set()
    await bench.result(busy)
    assert len(bench.calls(busy)) == 6


async def test_a_status_counts_what_a_long_run_lets_gather(bench: Bench) -> None:
    window, release = bench.new(Sum), asyncio.Event()
    bench.book.script(window.key, lambda _: release.wait())
    await window.add(1)
    await window.flush()
    await eventually(lambda: bench.calls(window))
    await window.add_many([1] * 20_000)
    status = await bench.status(window)
    assert (status.status, status.event_count) == ("running", 20_001)
    release.set()
    await window.flush()
    await bench.result(window)
    assert [call.state for call in bench.calls(window)] == [1, 20_000]


async def test_an_instance_is_sent_no_more_than_its_history_bears(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over 50 MB the server ends a workflow, with all that waits in it."""
    monkeypatch.setattr(scale, "LOOK_BYTES", 200_000)
    monkeypatch.setattr(scale, "MAX_HISTORY_BYTES", 1_000_000)
    monkeypatch.setattr(batch, "_PATIENCE", 0.3)
    monkeypatch.setattr(carry, "MAX_LETTERS", 2)
    gather, release = bench.new(Gather), asyncio.Event()
    bench.book.script(gather.key, lambda _: release.wait())
    await gather.add(Push(n=0))
    await eventually(lambda: bench.calls(gather))
    added = 0

    async def add_much() -> None:
        nonlocal added
        for n in range(1, 30):
            await gather.add(Push(n=n, note="x" * 100_000))
            added = n

    with pytest.raises(Busy, match="the history of its run has"):
        await add_much()
    assert 8 <= added <= 14
    monkeypatch.setattr(batch, "_PATIENCE", 10)
    later = asyncio.create_task(gather.add(Push(n=99)))
    await asyncio.wait([later], timeout=0.2)
    release.set()
    # It goes on in a new run, which bears more.
    await later
    begun = time.monotonic()
    await bench.result(gather)
    assert time.monotonic() - begun < 10
    assert bench.executed(gather) == [*range(added + 1), 99]
