"""Are the events that the collector refused counted where they should be?"""

import asyncio
import json
from collections.abc import Iterable, Iterator
from typing import Any

from temporalio.client import Client, WorkflowExecution, WorkflowHistory

from durable_jobs.names import DELIVERY_WORKFLOW

from .accounts import Report
from .weather import Moody, chosen


async def check_refusals(client: Client, queue: str, moody: Moody, report: Report) -> None:
    """The refused events are the chosen ones; each is counted by the workflow that had it last.

    Or by two: where a workflow task was lost that had handed it over already.
    """
    expected = {name for name in moody.books.texts if chosen(name)}
    if expected != moody.books.refused:
        report.faults.append("the events refused are not those chosen")
    turns = asyncio.Semaphore(8)

    async def counted(workflow: WorkflowExecution) -> set[str]:
        async with turns:
            handle = client.get_workflow_handle(workflow.id, run_id=workflow.run_id)
            status: Any = await handle.query("status")
            count = status.get("tracking", status)["rejected"]
            found = refused_in(await handle.fetch_history()) if count else set[str]()
        if workflow.workflow_type == DELIVERY_WORKFLOW and len(found) != count:
            report.faults.append(f"{workflow.id} counts {count} refused events of {len(found)}")
        return found

    workflows = [each async for each in client.list_workflows(f"TaskQueue = '{queue}'")]
    told = set[str]().union(*await asyncio.gather(*map(counted, workflows)))
    if told != expected:
        report.faults.append(f"refused and not counted: {sorted(expected - told)[:5]}")


def refused_in(history: WorkflowHistory) -> set[str]:
    """The ids of the events that a workflow has heard were refused."""
    return {name for data in _results(history) for name in _refused(json.loads(data))}


def _results(history: WorkflowHistory) -> Iterator[bytes]:
    for event in history.events:
        failed = event.activity_task_failed_event_attributes.failure
        for payloads in (
            event.activity_task_completed_event_attributes.result,
            failed.application_failure_info.details,
            event.workflow_execution_signaled_event_attributes.input,
        ):
            for payload in payloads.payloads:
                yield payload.data


def _refused(value: Any) -> Iterable[str]:
    """The ids of the events that a flush says were refused."""
    if not isinstance(value, dict):
        return
    rejected = value.get("rejected")
    if isinstance(rejected, dict):
        yield from rejected
