"""A debounce instance that holds more than Temporal takes in one piece goes on all the same."""

import asyncio
from datetime import timedelta

import pytest
from temporalio.client import Client

from durable_jobs import DebounceJob, DebounceRun, JobClient
from durable_jobs.workflows import carry
from tests.debounce.jobs import Bench, Counted, Held
from tests.support import eventually
from tests.support.jobs import QUICK, last_error_of, new_key, running_worker, until_status, went_on
from tests.support.scripted import Book, Push, Total

KB = 1024
LARGE = "x" * 200 * KB


async def test_many_large_events_in_one_window_are_all_executed(bench: Bench) -> None:
    """Together they are more than Temporal takes in one activity's input."""
    held = bench.new(Held)
    await asyncio.gather(*(held.add(Push(n=n, note=LARGE)) for n in range(20)))
    await held.flush()
    async with asyncio.timeout(60):
        result = await bench.result(held)
    assert (result["status"], result["runCount"]) == ("completed", 1)
    assert sorted(bench.executed(held)) == list(range(20))


async def test_large_events_that_fill_a_window_are_all_executed(bench: Bench) -> None:
    counted = bench.new(Counted)
    await asyncio.gather(*(counted.add(Push(n=n, note=LARGE)) for n in range(15)))
    # The last one or two may not have filled a window.
    await counted.flush()
    await eventually(lambda: len(bench.executed(counted)) >= 15)
    async with asyncio.timeout(60):
        await bench.result(counted)
    assert sorted(bench.executed(counted)) == list(range(15))


class Hoard(DebounceJob[Push, list[Push]]):
    """Keeps every event whole, until told to let go."""

    name = "hoard"
    flush_after = timedelta(hours=1)
    retry = QUICK

    def __init__(self, book: Book) -> None:
        self.book = book

    def reduce(self, state: list[Push] | None, event: Push) -> list[Push]:
        return [*(state or []), event]

    async def execute(self, run: DebounceRun[list[Push]]) -> None:
        await self.book.play("execute", run)


@pytest.mark.parametrize("count", [3, 12])
async def test_a_window_whose_state_grows_too_large_pauses_with_its_events_kept(
    client: Client, queue: str, count: int
) -> None:
    async with running_worker(client, queue, Hoard(Book())) as jobs:
        hoard = jobs.debounce(Hoard, new_key())
        for n in range(count):
            await hoard.add(Push(n=n, note=LARGE), id=f"delivery-{n}")
        await hoard.flush()
        assert "524,288" in await last_error_of(hoard)
        assert (await until_status(hoard, "paused")).event_count == count
        # It goes on answering, knows what it has, and takes what still comes.
        await hoard.add(Push(n=0), id="delivery-0")
        await hoard.add(Push(n=99), id="delivery-99")
        assert (await until_status(hoard, "paused")).event_count == count + 1
        assert await hoard.clear()
        async with asyncio.timeout(60):
            result = await client.get_workflow_handle(hoard.instance_id).result()
        assert result["discardedEvents"] == count + 1


async def test_ids_of_any_number_and_length_do_not_wedge_an_instance(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "MAX_LETTERS", 40)
    held = bench.new(Held)
    await held.add(Push(n=0), id="first")
    handle = bench.client.get_workflow_handle(held.instance_id)
    for batch in range(60):
        events = [{"data": {"n": 0}, "id": f"{batch}-{n}".rjust(300, "i")} for n in range(100)]
        await handle.signal("add_batch", {"events": events})
    await eventually(lambda: went_on(bench.client, held.instance_id))
    receipt = await held.add_confirmed(Push(), id="59-99".rjust(300, "i"))
    assert (receipt.duplicate, receipt.event_count) == (True, 6001)
    await held.flush()
    async with asyncio.timeout(60):
        await bench.result(held)
    assert len(bench.executed(held)) == 6001


async def test_more_than_a_run_can_carry_that_came_after_an_end_opens_a_fresh_life(
    client: Client, queue: str
) -> None:
    book, key = Book(), new_key()
    held = JobClient(client, task_queue=queue).debounce(Held, key)
    # No worker yet: all of it reaches the instance at once.
    await held.add(Push(n=99))
    await held.terminate("first life")
    for n in range(12):
        await held.add(Push(n=n, note=LARGE))
    async with running_worker(client, queue, Held(book)):
        assert await eventually(lambda: _state_is(held, list(range(12))))
        await held.flush()
        async with asyncio.timeout(60):
            result = await client.get_workflow_handle(held.instance_id).result()
    assert (result["status"], result["runCount"]) == ("completed", 1)
    assert [call.state.ns for call in book.of(key)] == [list(range(12))]


async def _state_is(handle: object, ns: list[int]) -> bool:
    return await handle.state() == Total(ns=ns)  # type: ignore[attr-defined]
