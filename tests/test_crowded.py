"""An attempt that outlasts what a history takes goes on outside; nothing is lost meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.exceptions import FailureError

from durable_jobs import Busy, DebounceJob, DebounceRun, JobClient, JobsPlugin
from durable_jobs.handles import batch
from durable_jobs.handles.base import Handle
from durable_jobs.names import OUTCOME_SIGNAL
from durable_jobs.tracking import MemorySink, Tracking
from durable_jobs.workflows import away, base, carrying, gathered
from tests.jobs import at_most, new_key, result_of, running_worker, status_of, until_status
from tests.lives import assert_replays, histories_of, in_order
from tests.long_runs import KINDS, SOON, Gatherer, Notes, Stubborn, a_task, runs_of, the_state
from tests.scripted import Push, Total
from tests.support import eventually

KB = 1024


class Gate:
    """Lets attempts end once it is open."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.cut_off = 0

    async def __call__(self, run: Any) -> None:
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.cut_off += 1
            raise


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Histories are long and crowded after a few signals."""
    monkeypatch.setattr(carrying, "MAX_SIGNALS", 20)
    monkeypatch.setattr(carrying, "CROWDED_SIGNALS", 40)


async def crowd(client: Client, handle: Handle[Any], runs: int) -> None:
    """Signal until the instance has continued as new so often."""
    raw = client.get_workflow_handle(handle.instance_id)

    async def more() -> bool:
        await asyncio.gather(*(raw.signal("resume") for _ in range(10)))
        found = [r async for r in client.list_workflows(f"WorkflowId = '{handle.instance_id}'")]
        return len(found) > runs

    await eventually(more)


async def attempts_outside(client: Client, queue: str) -> list[WorkflowExecutionStatus | None]:
    """How the workflows that make attempts do."""
    found = client.list_workflows(f"TaskQueue = '{queue}' AND WorkflowType = 'JobAttempt'")
    return [run.status async for run in found]


async def _all_over(client: Client, queue: str) -> bool:
    found = await attempts_outside(client, queue)
    return bool(found) and set(found) == {WorkflowExecutionStatus.COMPLETED}


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize(("job", "begin"), KINDS)
async def test_an_attempt_makes_way_once_and_then_goes_on_over_continue_as_new(
    client: Client, queue: str, job: Any, begin: Callable[[JobClient], Awaitable[Handle[Any]]]
) -> None:
    gate, sink = Gate(), MemorySink()
    notes = Notes(gate)
    async with running_worker(client, queue, job(notes), tracking=Tracking(sink)) as jobs:
        handle = await begin(jobs)
        await eventually(lambda: bool(notes.attempts))
        await crowd(client, handle, 4)
        assert (await status_of(handle)).status == "running"
        gate.opened.set()
        assert await the_state(handle) == 7
        events = await eventually(lambda: _executed(sink, handle))
        await eventually(lambda: _all_over(client, queue))
    assert (notes.numbers, gate.cut_off, len(notes.keys)) == ([1, 1], 1, 1)
    assert {run.instance_id for run in notes.attempts} == {handle.instance_id}
    assert [event["type"] for event in events].count("job.executed") == 1
    assert not [event for event in events if event["type"] == "job.failed"]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    await runs_of(client, queue, job)


def _executed(sink: MemorySink, handle: Handle[Any]) -> list[Any]:
    events = in_order(sink.events, handle.instance_id)
    return events if any(event["type"] == "job.executed" for event in events) else []


@pytest.mark.usefixtures("narrow")
async def test_a_failure_outside_is_told_once_and_retried(client: Client, queue: str) -> None:
    gate, sink = Gate(), MemorySink()

    async def script(run: Any) -> None:
        await gate(run)
        if run.attempt < 4:
            raise ValueError(f"attempt {run.attempt}")

    notes = Notes(script)
    async with running_worker(client, queue, Stubborn(notes), tracking=Tracking(sink)) as jobs:
        task = await a_task(jobs)
        await eventually(lambda: bool(notes.attempts))
        await crowd(client, task, 3)
        gate.opened.set()
        assert await the_state(task) == 7
        events = await eventually(lambda: _executed(sink, task))
        await task.terminate()
    assert (notes.numbers, len(notes.keys)) == ([1, 1, 2, 3, 4], 1)
    failed = [event["attempt"] for event in events if event["type"] == "job.failed"]
    assert failed == [1, 2, 3]
    await runs_of(client, queue, Stubborn)


@pytest.mark.usefixtures("narrow")
async def test_terminate_ends_an_attempt_outside(client: Client, queue: str) -> None:
    notes = Notes(gate := Gate())
    async with running_worker(client, queue, Gatherer(notes)) as jobs:
        gatherer = jobs.debounce(Gatherer, new_key())
        await gatherer.add(7)
        await eventually(lambda: bool(notes.attempts))
        await crowd(client, gatherer, 3)
        await gatherer.add(1)
        await gatherer.terminate("enough")
        ended = await result_of(client, gatherer.instance_id)
        await eventually(lambda: _all_over(client, queue))
    assert (ended["status"], ended["reason"], ended["discardedEvents"]) == (
        "terminated",
        "enough",
        2,
    )
    assert (len(notes.attempts), gate.cut_off) == (2, 2)
    await runs_of(client, queue, Gatherer)


@pytest.mark.usefixtures("narrow")
async def test_an_attempt_outside_that_somebody_ended_is_made_again(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("durable_jobs.workflows.runner.LOOK_EVERY", timedelta(seconds=1))
    notes = Notes(gate := Gate())
    async with running_worker(client, queue, Stubborn(notes)) as jobs:
        task = await a_task(jobs)
        await eventually(lambda: bool(notes.attempts))
        await crowd(client, task, 3)
        query = f"TaskQueue = '{queue}' AND WorkflowType = 'JobAttempt'"
        [outside] = [run async for run in client.list_workflows(query)]
        await client.get_workflow_handle(outside.id).terminate("by mistake")
        await eventually(lambda: len(notes.attempts) == 3)
        gate.opened.set()
        assert await the_state(task) == 7
        await task.terminate()
    assert (notes.numbers, len(notes.keys)) == ([1, 1, 1], 1)
    await runs_of(client, queue, Stubborn)


@pytest.mark.usefixtures("narrow")
async def test_what_came_of_an_attempt_outside_is_told_however_often_its_instance_takes_no_signal(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []

    class Full:
        async def signal(self, name: str, args: list[Any]) -> None:
            refused.append(name)
            raise FailureError("the per-workflow signal limit was exceeded")

    monkeypatch.setattr(away, "LONGEST_WAIT", timedelta(milliseconds=10))
    notes = Notes(gate := Gate())
    async with running_worker(client, queue, Stubborn(notes)) as jobs:
        task = await a_task(jobs)
        await eventually(lambda: bool(notes.attempts))
        await crowd(client, task, 3)
        with monkeypatch.context() as full:
            full.setattr(workflow, "get_external_workflow_handle", lambda _: Full())
            gate.opened.set()
            await eventually(lambda: len(refused) > 15)
        assert await the_state(task) == 7
        await eventually(lambda: _all_over(client, queue))
        await task.terminate()
    assert (set(refused), notes.numbers) == ({OUTCOME_SIGNAL}, [1, 1])


class Whole(DebounceJob[Push, Total]):
    """Gathers numbers."""

    name = "whole"
    flush_after = timedelta(milliseconds=50)
    retry = at_most(1)
    heartbeat_timeout = SOON

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def reduce(self, state: Total | None, event: Push) -> Total:
        return Total(ns=[*(state.ns if state else []), event.n])

    async def execute(self, run: DebounceRun[Total]) -> None:
        await self._notes.note(run)


async def test_more_than_a_history_takes_from_a_raw_client_during_an_attempt_is_all_flushed(
    client: Client, queue: str
) -> None:
    """60 MB; the server ends a workflow at 50 MB."""
    notes = Notes(gate := Gate())
    async with running_worker(client, queue, Whole(notes)) as jobs:
        whole = jobs.debounce(Whole, new_key())
        await whole.add(Push(n=0))
        await eventually(lambda: bool(notes.attempts))
        raw = client.get_workflow_handle(whole.instance_id)
        for n in range(1, 301):
            await raw.signal("add", {"n": n, "note": "x" * 200 * KB})
            if n % 10 == 0:
                # It takes them in as they come: no guard is fast enough for all at once.
                await raw.query("status", rpc_timeout=timedelta(seconds=60))
        gate.opened.set()
        async with asyncio.timeout(120):
            result = await result_of(client, whole.instance_id)
    assert result["status"] == "completed"
    flushed = [run.state.ns for run in notes.attempts]
    assert flushed[:2] == [[0], [0]]
    assert [n for ns in flushed[2:] for n in ns] == list(range(1, 301))
    assert gate.cut_off == 1


@pytest.mark.usefixtures("narrow")
async def test_what_was_folded_while_a_run_failed_for_good_goes_on_behind_its_events(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathered, "FOLD_EVENTS", 5)

    async def script(run: Any) -> None:
        await gate(run)
        if run.run_count == 1:
            raise ValueError("full")

    notes, gate = Notes(script), Gate()
    async with running_worker(client, queue, Whole(notes)) as jobs:
        whole = jobs.debounce(Whole, new_key())
        await whole.add_many([Push(n=n) for n in range(20)])
        await eventually(lambda: bool(notes.attempts))
        await whole.add_many([Push(n=n) for n in range(20, 40)])
        await crowd(client, whole, 3)
        gate.opened.set()
        assert (await until_status(whole, "paused")).event_count == 40
        await whole.add_many([Push(n=n) for n in range(40, 50)])
        await whole.resume()
        result = await result_of(client, whole.instance_id)
    assert (result["status"], result["runCount"]) == ("completed", 3)
    flushed = [(run.run_count, run.state.ns, run.event_count) for run in notes.attempts[-2:]]
    assert flushed == [(2, list(range(20)), 20), (3, list(range(20, 50)), 30)]
    await assert_replays(await histories_of(client, queue), JobsPlugin([Whole(notes)]))


@pytest.mark.usefixtures("narrow")
async def test_attempts_are_made_inside_again_once_fewer_events_come(
    client: Client, queue: str
) -> None:
    notes = Notes(gate := Gate())
    async with running_worker(client, queue, Stubborn(notes)) as jobs:
        task = await a_task(jobs)
        await eventually(lambda: bool(notes.attempts))
        await crowd(client, task, 3)
        gate.opened.set()
        assert await the_state(task) == 7
        for total in (8, 9, 10):
            assert await task.ask(1) == total
        assert len(await attempts_outside(client, queue)) == 2
        await task.terminate()


@pytest.mark.parametrize("job", [Stubborn, Gatherer])
async def test_an_update_that_brings_events_is_refused_where_there_is_no_room(
    client: Client, queue: str, monkeypatch: pytest.MonkeyPatch, job: Any
) -> None:
    monkeypatch.setattr(batch, "_PATIENCE", 0.2)
    notes = Notes(gate := Gate())
    async with running_worker(client, queue, job(notes)) as jobs:
        if job is Stubborn:
            handle = jobs.task(Stubborn, new_key())
            add = partial(handle.ask, 1)
            await handle.send(7)
        else:
            handle = jobs.debounce(Gatherer, new_key())
            add = partial(handle.add_confirmed, 1)
            await handle.add(7)
        await eventually(lambda: bool(notes.attempts))
        with monkeypatch.context() as full:
            full.setattr(base, "REFUSED_BYTES", 100)
            with pytest.raises(Busy, match="no room"):
                await add()
        gate.opened.set()
        await add()
        await handle.terminate()
