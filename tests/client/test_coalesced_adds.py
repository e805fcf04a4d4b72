"""Concurrent adds to one key share calls: what each caller hears, what the server sees."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from durable_jobs import InvalidEvent, JobClient, PayloadTooLarge
from durable_jobs.handles import DebounceHandle
from durable_jobs.handles.base import Handle
from tests.debounce.jobs import Bench, Gather, Held
from tests.support import eventually
from tests.support.jobs import new_key, running_worker
from tests.support.scripted import Push
from tests.support.simple_jobs import Note, simple_jobs

SIGNALLED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
ACCEPTED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED


async def signals(client: Client, handle: Handle[Any], kind: int = SIGNALLED) -> list[str]:
    history = await client.get_workflow_handle(handle.instance_id).fetch_history()
    return [
        event.workflow_execution_signaled_event_attributes.signal_name
        for event in history.events
        if event.event_type == kind
    ]


async def until_signals(client: Client, handle: Handle[Any], names: list[str]) -> None:
    """The server keeps a signal aside while a workflow task is under way."""

    async def there() -> bool:
        found = await signals(client, handle)
        assert len(found) <= len(names)
        return found == names

    await eventually(there)


async def flushed(bench: Bench, held: DebounceHandle[Any, Any]) -> None:
    await held.flush()
    await bench.result(held)


async def test_concurrent_adds_by_separate_handles_share_signals(bench: Bench) -> None:
    key = new_key()
    handles = [bench.new(Held, key) for _ in range(300)]
    await asyncio.gather(*(handle.add(Push(n=n)) for n, handle in enumerate(handles)))
    await until_signals(bench.client, handles[0], ["add_batch"])
    await flushed(bench, handles[0])
    assert bench.executed(handles[0]) == list(range(300))


async def test_an_add_to_an_idle_key_goes_out_at_once_as_a_plain_signal(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add(Push(n=1))
    await held.add(Push(n=2))
    await until_signals(bench.client, held, ["add", "add"])


async def test_adds_made_while_a_call_is_in_flight_form_the_next_one(bench: Bench) -> None:
    held = bench.new(Held)
    first = asyncio.create_task(held.add(Push(n=0)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    later = [asyncio.create_task(held.add(Push(n=n))) for n in range(1, 50)]
    await asyncio.gather(first, *later)
    await until_signals(bench.client, held, ["add", "add_batch"])
    await flushed(bench, held)
    assert bench.executed(held) == list(range(50))


async def test_an_event_that_does_not_fit_raises_for_its_caller_alone(bench: Bench) -> None:
    held = bench.new(Held)
    huge = Push(note="x" * 300_000)
    results = await asyncio.gather(
        held.add(Push(n=1)),
        held.add({"n": "many"}),  # type: ignore[arg-type]
        held.add(huge),
        held.add(Push(n=2), id="x" * 301),
        held.add(Push(n=3)),
        return_exceptions=True,
    )
    kinds = [type(result) for result in results]
    assert kinds == [type(None), InvalidEvent, PayloadTooLarge, InvalidEvent, type(None)]
    await flushed(bench, held)
    assert bench.executed(held) == [1, 3]


async def test_a_cancelled_caller_hurts_no_other(bench: Bench) -> None:
    held = bench.new(Held)
    adds = [asyncio.create_task(held.add(Push(n=n))) for n in range(60)]
    await asyncio.sleep(0)
    for add in adds[::3]:
        add.cancel()
    results = await asyncio.gather(*adds, return_exceptions=True)
    assert all(result is None for n, result in enumerate(results) if n % 3)
    await flushed(bench, held)
    assert [n for n in bench.executed(held) if n % 3] == [n for n in range(60) if n % 3]


async def test_large_events_are_spread_over_signals(bench: Bench) -> None:
    held = bench.new(Held)
    pushes = [Push(n=n, note="x" * 200_000) for n in range(5)]
    await asyncio.gather(*(held.add(push) for push in pushes))
    await until_signals(bench.client, held, ["add_batch", "add_batch", "add"])


async def test_add_many_keeps_the_order_and_drops_known_ids(bench: Bench) -> None:
    held = bench.new(Held)
    await held.add_many(Push(n=n) for n in range(1_200))
    await held.add_many([Push(n=1_200), Push(n=1_201), Push(n=1_202)], ids=["a", "a", None])
    assert (await bench.status(held)).event_count == 1_202
    await flushed(bench, held)
    assert bench.executed(held) == [*range(1_201), 1_202]


async def test_add_many_sends_nothing_where_one_event_does_not_fit(bench: Bench) -> None:
    held = bench.new(Held)
    with pytest.raises(InvalidEvent):
        await held.add_many([Push(n=1), {"n": "many"}])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="1 events, but 2 ids"):
        await held.add_many([Push(n=1)], ids=["a", "b"])
    await held.add_many([])
    assert await held.status() is None


async def test_confirmed_adds_share_updates_and_each_hears_of_its_own(bench: Bench) -> None:
    held = bench.new(Held)
    ids = [f"id-{n % 30}" for n in range(40)]
    receipts = await asyncio.gather(
        *(held.add_confirmed(Push(n=n), id=event_id) for n, event_id in enumerate(ids))
    )
    assert [receipt.duplicate for receipt in receipts] == [False] * 30 + [True] * 10
    assert [receipt.event_count for receipt in receipts] == [*range(1, 31)] + [30] * 10
    assert Counter(receipt.created for receipt in receipts) == {True: 1, False: 39}
    assert all(receipt.will_flush_at is not None for receipt in receipts)
    assert len(await signals(bench.client, held, ACCEPTED)) == 1


async def test_a_thousand_confirmed_adds_stay_under_the_servers_limits(bench: Bench) -> None:
    held = bench.new(Held)
    clients = [JobClient(bench.client, task_queue=bench.queue) for _ in range(20)]
    handles = [client.debounce(Held, held.key) for client in clients]
    await asyncio.gather(*(handles[n % 20].add_confirmed(Push(n=n)) for n in range(1_000)))
    await flushed(bench, held)
    assert sorted(bench.executed(held)) == list(range(1_000))


async def test_an_update_with_a_bad_event_confirms_the_others_where_asked_for_each(
    bench: Bench,
) -> None:
    held = bench.new(Held)
    await held.add(Push(n=0))
    raw = bench.client.get_workflow_handle(held.instance_id)
    events = [{"data": {"n": 1}}, {"data": {"n": "many"}}, {"data": {"n": 2}}]
    answer = await raw.execute_update("add_batch", {"events": events, "each": True})
    assert [("error" in each) for each in answer["events"]] == [False, True, False]
    assert answer["eventCount"] == 3
    status = await bench.status(held)
    assert (status.event_count, status.rejected_events) == (3, 0)


async def test_nothing_is_left_behind_once_no_caller_waits(bench: Bench) -> None:
    held = bench.new(Gather)
    jobs = JobClient(bench.client, task_queue=bench.queue)
    handle = jobs.debounce(Gather, held.key)
    await asyncio.gather(*(handle.add(Push(n=n)) for n in range(20)))
    batcher = handle._connection.batcher  # pyright: ignore[reportPrivateUsage]
    await eventually(lambda: batcher.idle)


async def test_concurrent_sends_share_signals_and_keep_their_order(
    client: Client, queue: str
) -> None:
    async with running_worker(client, queue, *simple_jobs()) as jobs:
        task = jobs.task(Note, new_key())
        await asyncio.gather(*(task.send(Push(n=n)) for n in range(20)))
        await eventually(lambda: _all_handled(task))
        assert (await signals(client, task)).count("send_batch") == 1
        await task.terminate()


async def _all_handled(task: Handle[Any]) -> bool:
    state = await task.state()
    return getattr(state, "ns", None) == list(range(20))
