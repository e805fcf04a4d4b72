"""Temporal runs: found, looked at, and deleted until the server knows them no more."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from typing import NamedTuple

from temporalio.api.common.v1 import WorkflowExecution as Target
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowExecution, WorkflowExecutionDescription
from temporalio.service import RPCError

from ..handles.instance import is_missing
from ..handles.limits import TimeLimit
from ..many.calls import results

_AT_ONCE = 16
_SHORTEST, _LONGEST = 0.05, 1.0  # seconds


class Run(NamedTuple):
    """One Temporal run."""

    workflow_id: str
    run_id: str


def named(run: WorkflowExecution) -> Run:
    """What a run is called."""
    return Run(run.id, run.run_id)


def is_over(run: WorkflowExecution) -> bool:
    """Whether it has ended, or continued as new."""
    return run.close_time is not None


def first_of(run: WorkflowExecutionDescription) -> str:
    """The first run of those that continued as new up to this one."""
    return run.raw_description.workflow_execution_info.first_run_id


async def looked_at(
    client: Client, workflow_id: str, run_id: str | None = None
) -> WorkflowExecutionDescription | None:
    """A workflow's run, the last one unless named; None where the server knows none."""
    try:
        return await client.get_workflow_handle(workflow_id, run_id=run_id).describe()
    except RPCError as error:
        if is_missing(error):
            return None
        raise


async def listed(client: Client, query: str) -> list[WorkflowExecution]:
    """What visibility has, which lags behind by a second or so."""
    return [run async for run in client.list_workflows(query)]


async def pauses(limit: TimeLimit) -> AsyncGenerator[None]:
    """Lets some time pass between two looks, until the limit is over; the first one is at once."""
    wait = _SHORTEST
    while True:
        yield
        if limit.is_over:
            return
        await asyncio.sleep(wait)
        wait = min(wait * 1.5, _LONGEST)


async def delete(client: Client, runs: Iterable[Run]) -> None:
    """Have the server delete runs that are over. It does so later."""

    async def one(run: Run) -> None:
        request = DeleteWorkflowExecutionRequest(
            namespace=client.namespace,
            workflow_execution=Target(workflow_id=run.workflow_id, run_id=run.run_id),
        )
        try:
            await client.workflow_service.delete_workflow_execution(request, retry=True)
        except RPCError as error:
            if not is_missing(error):
                raise

    async for _ in results(runs, one, _AT_ONCE):
        pass


async def still_there(client: Client, runs: Iterable[Run]) -> set[Run]:
    """Those that the server still knows."""

    async def one(run: Run) -> Run | None:
        return run if await looked_at(client, *run) is not None else None

    return {run async for run in results(runs, one, _AT_ONCE) if run is not None}
