"""The last attempts of an instance, as Temporal's history tells them."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.common.v1 import Payload, WorkflowExecution
from temporalio.api.failure.v1 import Failure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

from ..names import FAILED_ERROR, NOT_REGISTERED
from ..protocol import Report, RunResult
from ..wire import model_from_raw

SHOWN = 5
_EVENTS = 250
"""Of history, so far back; a quiet attempt has some six."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended."""

    word: str
    """`succeeded`, `failed`, `lost`, `cut off`, `put off` or `not begun`; else `under way`."""

    number: int | None = None
    """Which attempt of its run it was."""

    error: str | None = None
    stack: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a handler."""

    handler: str
    began_at: datetime | None
    """None: no worker has taken it."""

    took: timedelta | None
    """None: it is under way."""

    worker: str
    outcome: Outcome

    def json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "handler": self.handler,
            "attempt": self.outcome.number,
            "outcome": self.outcome.word,
            "beganAt": self.began_at.isoformat() if self.began_at else None,
            "seconds": self.took.total_seconds() if self.took is not None else None,
            "worker": self.worker,
            "error": self.outcome.error,
            "stack": self.outcome.stack,
        }


async def last_attempts(client: Client, instance: str, within: timedelta) -> list[Attempt]:
    """The last attempts that began, the newest first.

    Only those of the instance's present Temporal run; it goes on in a new one now and then.

    Raises:
        RPCError: the server refuses, or does not answer `within` this time.
        ValueError: they cannot be read without a payload codec.
    """
    found: list[Attempt] = []
    async for each in _attempts(client, instance, within):
        found.append(each)
        if len(found) == SHOWN:
            break
    return found


async def _attempts(client: Client, instance: str, within: timedelta) -> AsyncGenerator[Attempt]:
    job = instance.split(":")[1]
    request = GetWorkflowExecutionHistoryReverseRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=instance),
        maximum_page_size=_EVENTS,
    )
    answer = await client.workflow_service.get_workflow_execution_history_reverse(
        request, timeout=within
    )
    described = await client.get_workflow_handle(instance).describe(rpc_timeout=within)
    pending = {each.activity_id: each for each in described.raw_description.pending_activities}
    started: dict[int, HistoryEvent] = {}
    closed: dict[int, HistoryEvent] = {}
    for event in answer.history.events:
        if event.HasField("activity_task_started_event_attributes"):
            began = event.activity_task_started_event_attributes
            started[began.scheduled_event_id] = event
        elif (scheduled := _closes(event)) is not None:
            closed[scheduled] = event
        elif event.HasField("activity_task_scheduled_event_attributes"):
            asked = event.activity_task_scheduled_event_attributes
            handler = asked.activity_type.name.removeprefix(f"{job}.")
            if handler == asked.activity_type.name:
                continue
            end = closed.get(event.event_id)
            if end is None:
                yield _under_way(handler, pending.get(asked.activity_id))
                continue
            outcome = await _outcome(client, end)
            if outcome is not None:
                yield _ended(handler, started.get(event.event_id), end, outcome)


def _closes(event: HistoryEvent) -> int | None:
    """Of an event that ends an activity: the number of the one that scheduled it."""
    name = event.WhichOneof("attributes") or ""
    ends = ("completed", "failed", "timed_out", "canceled")
    if name not in {f"activity_task_{word}_event_attributes" for word in ends}:
        return None
    return getattr(event, name).scheduled_event_id


def _under_way(handler: str, pending: PendingActivityInfo | None) -> Attempt:
    if pending is None or not pending.HasField("last_started_time"):
        return Attempt(handler, None, None, "", Outcome("under way"))
    began = pending.last_started_time.ToDatetime(UTC)
    return Attempt(handler, began, None, pending.last_worker_identity, Outcome("under way"))


def _ended(
    handler: str, began: HistoryEvent | None, end: HistoryEvent, outcome: Outcome
) -> Attempt:
    if began is None:
        return Attempt(handler, None, timedelta(), "", outcome)
    begun = began.event_time.ToDatetime(UTC)
    took = end.event_time.ToDatetime(UTC) - begun
    worker = began.activity_task_started_event_attributes.identity
    return Attempt(handler, begun, took, worker, outcome)


async def _outcome(client: Client, end: HistoryEvent) -> Outcome | None:
    """None where there was nothing to call the handler for."""
    if end.HasField("activity_task_completed_event_attributes"):
        return await _of_result(
            client, end.activity_task_completed_event_attributes.result.payloads
        )
    if end.HasField("activity_task_failed_event_attributes"):
        return await _of_failure(client, end.activity_task_failed_event_attributes.failure)
    if end.HasField("activity_task_timed_out_event_attributes"):
        return Outcome("lost", error="its worker was lost, or it took too long")
    return Outcome("cut off")


async def _of_result(client: Client, payloads: Sequence[Payload]) -> Outcome | None:
    [raw] = await client.data_converter.decode(payloads, [RawValue])
    result = model_from_raw(RunResult, raw)
    if result.failed is not None:
        return _of_report(result.failed)
    number = result.executed.attempt if result.executed else None
    return Outcome("succeeded", number) if result.ran else None


async def _of_failure(client: Client, failure: Failure) -> Outcome:
    error = await client.data_converter.decode_failure(failure)
    if not isinstance(error, ApplicationError):
        return Outcome("lost", error=str(error))
    if error.type == NOT_REGISTERED:
        return Outcome("not begun", error="its worker does not know the handler")
    if len(error.details) > 1 and error.details[0] == FAILED_ERROR:
        return _of_report(Report.model_validate(error.details[1]))
    return Outcome("failed", error=error.message, stack=failure.stack_trace or None)


def _of_report(report: Report) -> Outcome:
    if report.job_pause is not None:
        return Outcome("not begun", error="the whole job was paused")
    if report.snoozed:
        return Outcome("put off", report.attempt)
    return Outcome("failed", report.attempt, report.message, report.stack)
