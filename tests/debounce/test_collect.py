"""`reduce = collect`: a window's events as a list that never grows too large."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import DebounceJob, DebounceRun, collect
from durable_jobs.tracking import MemorySink, Tracking
from durable_jobs.workflows import carry
from tests.debounce.jobs import Bench
from tests.support import eventually
from tests.support.jobs import QUICK, new_key, running_worker, until_status
from tests.support.scripted import Book, Push

LARGE = "x" * 60 * 1024


class Listing(DebounceJob[Push, list[Push]]):
    name = "listing"
    flush_after = timedelta(hours=1)
    retry = QUICK
    reduce = collect

    def __init__(self, book: Book) -> None:
        self.book = book

    async def execute(self, run: DebounceRun[list[Push]]) -> None:
        await self.book.play("execute", run)


class Small(Listing):
    name = "small"
    max_bytes = 100


@pytest.fixture(scope="module")
async def bench(client: Client) -> AsyncIterator[Bench]:
    book, sink, queue = Book(), MemorySink(), f"test-{new_key()}"
    jobs = [Listing(book), Small(book)]
    async with running_worker(client, queue, *jobs, tracking=Tracking(sink)) as connected:
        yield Bench(client, queue, connected, book, sink)


def lists(bench: Bench, handle: Any) -> list[tuple[str, list[int]]]:
    """Why each run was made, and the numbers of its events."""
    return [(call.flush_reason, [push.n for push in call.state]) for call in bench.calls(handle)]


async def test_a_run_has_its_events_as_a_list(bench: Bench) -> None:
    listing = bench.new(Listing)
    await listing.add_many([Push(n=1, note="a"), Push(n=2)])
    assert await listing.state() == [Push(n=1, note="a"), Push(n=2)]
    await listing.flush()
    await bench.result(listing)
    assert lists(bench, listing) == [("manual", [1, 2])]


async def test_a_list_flushes_at_256_kb_and_what_is_beyond_goes_on(bench: Bench) -> None:
    listing = bench.new(Listing)
    # Eight events of 60 KB come together; a list takes four.
    await listing.add_many(Push(n=n, note=LARGE) for n in range(9))
    await eventually(lambda: len(bench.calls(listing)) == 2)
    status = await until_status(listing, "debouncing")
    assert (status.event_count, status.run_count) == (1, 2)
    await listing.flush()
    await bench.result(listing)
    expected = [("max_bytes", [0, 1, 2, 3]), ("max_bytes", [4, 5, 6, 7]), ("manual", [8])]
    assert lists(bench, listing) == expected
    counts = [event["eventCount"] for event in bench.events(listing, "debounce.flushed")]
    assert counts == [4, 4, 1]
    assert len(bench.events(listing, "debounce.started")) == 3


async def test_a_flush_of_a_paused_one_takes_all_in_lists_that_fit(bench: Bench) -> None:
    listing = await bench.paused(Listing)
    await listing.add_many(Push(n=n, note=LARGE) for n in range(10))
    assert (await until_status(listing, "paused")).event_count == 10
    await listing.flush()
    status = await eventually(lambda: _all_flushed(bench, listing))
    assert status == [10]
    assert [ns for _, ns in lists(bench, listing)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


async def _all_flushed(bench: Bench, listing: Any) -> list[int] | None:
    total = sum(len(ns) for _, ns in lists(bench, listing))
    return [total] if total == 10 else None


async def test_many_small_events_in_a_list_are_all_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_LETTERS", 3)
    listing = bench.new(Listing)
    await listing.add_many(Push(n=n) for n in range(20_000))
    await listing.flush()
    await bench.result(listing)
    numbers = [n for _, ns in lists(bench, listing) for n in ns]
    assert numbers == list(range(20_000))


async def test_what_failed_comes_again_with_what_is_beyond(bench: Bench) -> None:
    listing = bench.new(Listing)

    async def fail_first(run: Any) -> None:
        if run.attempt == 1:
            raise OSError("full")

    bench.book.script(listing.key, fail_first)
    await asyncio.gather(*(listing.add(Push(n=n, note=LARGE)) for n in range(5)))
    await eventually(lambda: len(bench.calls(listing)) == 2)
    first, again = bench.calls(listing)
    assert [push.n for push in first.state] == [push.n for push in again.state] == [0, 1, 2, 3]
    await listing.clear()
    assert (await bench.result(listing))["discardedEvents"] == 1


async def test_max_bytes_of_the_users_own_is_a_trigger_below_that(bench: Bench) -> None:
    small = bench.new(Small)
    await small.add_many(Push(n=n) for n in range(20))
    await bench.result(small)
    assert lists(bench, small) == [("max_bytes", list(range(20)))]
