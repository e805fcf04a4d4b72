"""How a task instance ends, and what follows."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from durable_jobs import NonRetryable, RunFailure, TaskRun
from tests.support import PATIENCE, eventually
from tests.support.jobs import (
    new_key,
    result_of,
    running_worker,
    status_of,
    until_settled,
    until_status,
)
from tests.task.jobs import Note, Thread, Triage


async def test_the_verbs_say_where_nothing_lives(client: Client, queue: str) -> None:
    async with running_worker(client, queue, Triage()) as jobs:
        triage = jobs.task(Triage, new_key())
        assert (await triage.status(), await triage.state()) == (None, None)
        verbs = (triage.trigger, triage.pause, triage.resume, triage.terminate)
        assert [await verb() for verb in verbs] == [False] * 4
        await triage.send(Note())
        assert [await verb() for verb in verbs] == [True] * 4
        await result_of(client, triage.instance_id)
        assert [await verb() for verb in verbs] == [False] * 4


async def test_terminate_counts_the_events_it_discards(client: Client, queue: str) -> None:
    job = Triage()
    async with running_worker(client, queue, job) as jobs:
        triage = jobs.task(Triage, new_key())
        await triage.send(Note(text="handled"))
        await until_settled(triage)
        await triage.pause()
        for _ in range(4):
            await triage.send(Note())
        await triage.terminate("closed")
        assert await result_of(client, triage.instance_id) == {
            "status": "terminated",
            "reason": "closed",
            "runCount": 1,
            "discardedEvents": 4,
        }
        status = await status_of(triage)
        assert (status.status, status.run_count) == ("terminated", 1)
        assert await triage.state() == Thread(texts=["handled"])


async def test_terminate_cuts_a_handler_short_and_counts_its_event(
    client: Client, queue: str
) -> None:
    begun = asyncio.Event()

    class Endless(Triage):
        heartbeat_timeout = timedelta(seconds=1.5)

        async def on_event(self, run: TaskRun[Thread], event: Note) -> int:
            begun.set()
            await asyncio.Event().wait()
            return 0

    async with running_worker(client, queue, Endless()) as jobs:
        triage = jobs.task(Endless, new_key())
        await triage.send(Note())
        await begun.wait()
        await triage.send(Note())
        await triage.terminate("enough")
        result = await result_of(client, triage.instance_id)
        assert (result["reason"], result["discardedEvents"]) == ("enough", 2)


async def test_a_cancel_of_temporal_is_a_terminate(client: Client, queue: str) -> None:
    async with running_worker(client, queue, Triage()) as jobs:
        triage = jobs.task(Triage, new_key())
        await triage.send(Note())
        await until_settled(triage)
        await client.get_workflow_handle(triage.instance_id).cancel()
        result = await result_of(client, triage.instance_id)
        assert (result["status"], result["reason"]) == ("terminated", "cancelled")


async def test_an_event_after_the_end_opens_a_new_life(client: Client, queue: str) -> None:
    job = Triage()
    async with running_worker(client, queue, job) as jobs:
        triage = jobs.task(Triage, new_key())
        await triage.send(Note(text="first life"), id="one")
        await until_settled(triage)
        await triage.terminate()
        await result_of(client, triage.instance_id)
        await triage.send(Note(text="second life"), id="one")
        await eventually(lambda: len(job.runs) == 2)
        await until_settled(triage)
        assert await triage.state() == Thread(texts=["second life"])
        assert [run.is_first_event for run in job.runs] == [True, True]
        assert len({run.idempotency_key for run in job.runs}) == 2
        await triage.terminate()


async def test_a_handler_ends_its_instance_and_what_waits_opens_a_new_life(
    client: Client, queue: str
) -> None:
    class Closing(Triage):
        async def on_event(self, run: TaskRun[Thread], event: Note) -> int:
            if event.text == "close":
                run.terminate("closed")
            return await super().on_event(run, event)

    job = Closing()
    async with running_worker(client, queue, job) as jobs:
        triage = jobs.task(Closing, new_key())
        await triage.send(Note(text="open"))
        await until_settled(triage)
        await triage.pause()
        await triage.send(Note(text="close"))
        await triage.send(Note(text="reopen"))
        await triage.resume()
        await eventually(lambda: len(job.runs) == 3)
        await until_settled(triage)
        assert await triage.state() == Thread(texts=["reopen"])
        assert [run.event_count for run in job.runs] == [1, 2, 1]
        assert [run.run_count for run in job.runs] == [1, 2, 1]
        await triage.terminate()


@pytest.mark.parametrize("on_exhausted", ["pause", "continue"])
async def test_an_event_that_fails_for_good_while_a_caller_ends_the_instance_is_discarded(
    client: Client, queue: str, on_exhausted: Any
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Failing(Triage):
        async def on_event(self, run: TaskRun[Thread], event: Note) -> int:
            self.runs.append(run)
            begun.set()
            await go_on.wait()
            raise NonRetryable("never")

    Failing.on_exhausted = on_exhausted
    job = Failing()
    async with running_worker(client, queue, job) as jobs:
        triage = jobs.task(Failing, new_key())
        await triage.send(Note())
        await begun.wait()
        await triage.terminate("enough")
        await until_status(triage, "terminating")
        go_on.set()
        assert await ended(client, triage.instance_id) == ("terminated", "enough", 1)
        assert len(job.runs) == 1


@pytest.mark.parametrize("on_exhausted", ["pause", "continue", "terminate"])
async def test_a_caller_may_end_an_instance_while_on_error_runs(
    client: Client, queue: str, on_exhausted: Any
) -> None:
    begun = asyncio.Event()

    class Repairing(Triage):
        heartbeat_timeout = timedelta(seconds=1.5)

        async def on_event(self, run: TaskRun[Thread], event: Note) -> int:
            self.runs.append(run)
            raise NonRetryable("never")

        async def on_error(self, run: TaskRun[Thread], error: RunFailure) -> None:
            begun.set()
            await asyncio.Event().wait()

    Repairing.on_exhausted = on_exhausted
    job = Repairing()
    async with running_worker(client, queue, job) as jobs:
        triage = jobs.task(Repairing, new_key())
        await triage.send(Note())
        await begun.wait()
        await triage.terminate("enough")
        assert await ended(client, triage.instance_id) == ("terminated", "enough", 1)
        assert len(job.runs) == 1


async def ended(client: Client, instance_id: str) -> tuple[str, str, int]:
    """How an instance ended, why, and how many events it dropped."""
    async with asyncio.timeout(PATIENCE):
        result = await result_of(client, instance_id)
    return result["status"], result["reason"], result["discardedEvents"]
