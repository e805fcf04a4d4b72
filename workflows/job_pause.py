"""Stands for a job that is paused as a whole, in Temporal and its UI."""

from temporalio import workflow

from durable_jobs.names import JOB_PAUSE_WORKFLOW


@workflow.defn(name=JOB_PAUSE_WORKFLOW, sandboxed=False)
class JobPauseWorkflow:
    """Runs while the job is paused; a client ends it."""

    @workflow.run
    async def run(self) -> None:
        """Wait for that end."""
        await workflow.wait_condition(lambda: False)
