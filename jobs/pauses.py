"""The pause of a whole job: a workflow that runs for as long as no run of the job may begin.

Clients start and end it, workers look whether it runs. Nothing happens in the workflow itself, so
a job can be paused and resumed while no worker runs.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError, RPCStatusCode

from .names import JOB_PAUSE_WORKFLOW

HEEDED_WITHIN = 1.0
"""Seconds until all workers know of a pause, or of its end."""

_NOTE = "note"


@dataclass(frozen=True, slots=True)
class JobPause:
    """A job that is paused as a whole."""

    job: str
    since: datetime
    note: str
    """Who and why; empty where nobody said."""


async def pause_job(client: Client, task_queue: str, job: str, note: str | None) -> None:
    """Let no run of a job begin. One that is paused already stays so, with its first note.

    Raises:
        RPCError: Temporal refuses, or cannot be reached.
    """
    reason = f": {note}" if note else ""
    await client.start_workflow(
        JOB_PAUSE_WORKFLOW,
        id=_id_of(job),
        task_queue=task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        memo={_NOTE: note or ""},
        static_summary=f"{job} is paused{reason}"[:200],
    )


async def resume_job(client: Client, job: str, note: str | None) -> bool:
    """Let runs of a job begin again. Returns whether it was paused as a whole.

    Raises:
        RPCError: Temporal refuses, or cannot be reached.
    """
    reason = f"resumed: {note}" if note else "resumed"
    try:
        await client.get_workflow_handle(_id_of(job)).terminate(reason=reason)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return False
        raise
    return True


async def pause_of(client: Client, job: str, within: timedelta | None = None) -> JobPause | None:
    """The pause of a job, where it is paused as a whole.

    Raises:
        RPCError: Temporal refuses, cannot be reached, or does not answer `within` this time.
    """
    try:
        found = await client.get_workflow_handle(_id_of(job)).describe(rpc_timeout=within)
    except RPCError as error:
        if error.status == RPCStatusCode.NOT_FOUND:
            return None
        raise
    if found.status != WorkflowExecutionStatus.RUNNING:
        return None
    memo: dict[str, Any] = dict(await found.memo())
    return JobPause(job, found.start_time, str(memo.get(_NOTE, "")))


async def paused_jobs(client: Client) -> list[JobPause]:
    """All jobs that are paused as a whole, by name. Visibility lags behind by a second or so.

    Raises:
        RPCError: Temporal refuses, or cannot be reached.
    """
    query = f"WorkflowType = '{JOB_PAUSE_WORKFLOW}' AND ExecutionStatus = 'Running'"
    found: list[JobPause] = []
    async for run in client.list_workflows(query):
        memo: dict[str, Any] = dict(await run.memo())
        job = run.id.removeprefix(_id_of(""))
        found.append(JobPause(job, run.start_time, str(memo.get(_NOTE, ""))))
    return sorted(found, key=lambda pause: pause.job)


def _id_of(job: str) -> str:
    return f"job-pause:{job}"
