"""Whether what instances did can be done again from their histories."""

from collections.abc import Sequence

from temporalio.client import Client, WorkflowHistory
from temporalio.converter import DataConverter
from temporalio.worker import Replayer

from durable_jobs.plugin import JobsPlugin


async def histories_of(client: Client, queue: str) -> list[WorkflowHistory]:
    """The histories of all runs that a queue's workers worked on."""
    found = client.list_workflows(f"TaskQueue = '{queue}'")
    return [
        await client.get_workflow_handle(run.id, run_id=run.run_id).fetch_history()
        async for run in found
    ]


async def assert_replays(
    histories: Sequence[WorkflowHistory],
    plugin: JobsPlugin,
    converter: DataConverter = DataConverter.default,
) -> None:
    """Each history leads a worker with that plugin to the same commands."""
    replayer = Replayer(workflows=[], plugins=[plugin], data_converter=converter)
    for history in histories:
        result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
        assert result.replay_failure is None, f"{history.workflow_id}: {result.replay_failure}"
