"""Each workaround of `sdk_workarounds.py`: the fault on a bare worker, and that ours lacks it.

A test that shows a fault fails once the SDK no longer has it: the workaround can go then.
"""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.worker import Replayer, Worker

from tests.support import eventually
from tests.support.jobs import history_of, new_key, running_worker
from tests.support.simple_jobs import simple_jobs


@workflow.defn(sandboxed=False)
class Bare:
    """A workflow with one start argument, as one writes it by hand."""

    @workflow.run
    async def run(self, start: RawValue) -> str:
        """End at once."""
        return "ended"


async def test_a_bare_workflow_with_too_many_start_arguments_fails_its_task_again_and_again(
    client: Client, queue: str
) -> None:
    async with Worker(client, task_queue=queue, workflows=[Bare]):
        handle: WorkflowHandle[Any, Any] = await client.start_workflow(
            "Bare", args=[1, 2], id=f"bare-{new_key()}", task_queue=queue
        )
        await eventually(lambda: _task_failed(client, handle.id))
        await handle.terminate()


async def _task_failed(client: Client, workflow_id: str) -> bool:
    return "workflow_task_failed" in await history_of(client, workflow_id)


@pytest.mark.parametrize("kind", ["ContinuousJob", "DebounceJob", "TaskJob", "WorkerPoolJob"])
async def test_ours_fails_with_words(client: Client, queue: str, kind: str) -> None:
    async with running_worker(client, queue, *simple_jobs()):
        handle: WorkflowHandle[Any, Any] = await client.start_workflow(
            kind, args=[{"job": "held", "key": "k"}, 2], id=f"{kind}-{new_key()}", task_queue=queue
        )
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
        cause = failed.value.cause
        assert isinstance(cause, ApplicationError)
        assert "the start argument must be one JSON object" in cause.message


NAP = timedelta(seconds=0.3)


@workflow.defn(sandboxed=False)
class ByTheClock:
    """Decides by the clock: it sleeps again where its time has not come."""

    @workflow.run
    async def run(self) -> None:
        """End once the time has come."""
        until = workflow.now() + NAP
        await workflow.sleep(NAP)
        if workflow.now() < until:
            await workflow.sleep(NAP)

    @workflow.query
    def ping(self) -> str:
        """Answer."""
        return "pong"


async def test_a_query_that_waited_for_a_worker_leaves_a_bare_history_that_cannot_be_replayed(
    client: Client, queue: str
) -> None:
    # Temporal hands a query or a task on first: of those that wait, some queries are.
    assert await eventually(lambda: _some_cannot_be_replayed(client, queue))


async def _some_cannot_be_replayed(client: Client, queue: str) -> bool:
    async with Worker(client, task_queue=queue, workflows=[ByTheClock]):
        naps = [await _begin(client, queue) for _ in range(20)]
        await asyncio.gather(*(nap.query("ping") for nap in naps))
    # The queries wait for a worker, and the timers fire meanwhile.
    asked = asyncio.gather(*(nap.query("ping") for nap in naps))
    for nap in naps:
        await eventually(lambda: _timer_fired(client, nap.id))  # noqa: B023
    async with Worker(client, task_queue=queue, workflows=[ByTheClock]):
        await asyncio.gather(asked, *(nap.result() for nap in naps))
    replayer = Replayer(workflows=[ByTheClock])
    replays = [
        await replayer.replay_workflow(await nap.fetch_history(), raise_on_replay_failure=False)
        for nap in naps
    ]
    return any("Nondeterminism" in str(replay.replay_failure) for replay in replays)


async def _begin(client: Client, queue: str) -> WorkflowHandle[Any, Any]:
    return await client.start_workflow("ByTheClock", id=f"nap-{new_key()}", task_queue=queue)


async def _timer_fired(client: Client, workflow_id: str) -> bool:
    return "timer_fired" in await history_of(client, workflow_id)
