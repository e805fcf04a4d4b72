"""Each workaround of `sdk_workarounds.py`: the fault on a bare worker, and that ours lacks it.

A test that shows a fault fails once the SDK no longer has it: the workaround can go then.
"""

from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

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
