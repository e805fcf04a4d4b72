"""Speaks for instances that Temporal's *terminate* or a time-out ended: no code of theirs ran."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowHandle,
    WorkflowHistoryEventFilterType,
    WorkflowQueryFailedError,
)
from temporalio.common import RawValue, WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from durable_jobs.kinds import KINDS, JobKind
from durable_jobs.names import DELIVERY_WORKFLOW, OUTBOX_QUERY, RECONCILE
from durable_jobs.packing import unpack
from durable_jobs.protocol import (
    DeliverRequest,
    Detail,
    JobRef,
    Leftover,
    Reconciled,
    ReconcileRequest,
    TrackingIdentity,
)
from durable_jobs.tracking.ids import uuid7_at
from durable_jobs.tracking.outbox import Emitted, Outbox, OutboxCarry
from durable_jobs.wire import from_raw, model_from_raw, to_raw

JOB_WORKFLOWS: dict[str, JobKind] = {kind.workflow: kind for kind in KINDS.values()}
_TYPES = ", ".join(f"'{name}'" for name in (*JOB_WORKFLOWS, DELIVERY_WORKFLOW))
_ANSWER_TIME = timedelta(seconds=20)
_OFF = "tracking is off on the worker that was to reconcile; set DURABLE_JOBS_TRACKING_URL"


_AT_ONCE = 8  # each costs the server and a worker a few calls, and a replay

Handled = Literal["delivered", "before", "nothing"]


class Unreadable(Exception):
    """An instance cannot be read now."""


class Reconciler:
    """Finds what was ended from outside and hands its events to a `TrackingDelivery`.

    `identity` is for instances that were ended before any worker saw them; without it these are
    left out.
    """

    def __init__(self, client: Client, task_queue: str, identity: TrackingIdentity | None) -> None:
        self._client = client
        self._queue = task_queue
        self._identity = identity

    async def reconcile(
        self, since: timedelta, seen: Callable[[str], object] = lambda _: None
    ) -> Reconciled:
        """Look at all that ended within `since`; `seen` is called with IDs while that goes on.

        Raises RPCError where the server does not list them.
        """
        found = Reconciled()
        ended: list[WorkflowExecution] = []
        # Not in the task group, which would wrap the error of a server that refuses.
        async for run in self._ended(since):
            ended.append(run)
            seen(run.id)
        turns = asyncio.Semaphore(_AT_ONCE)

        async def look(run: WorkflowExecution) -> None:
            async with turns:
                _note(found, run.id, await self._outcome(run))
            seen(run.id)

        async with asyncio.TaskGroup() as group:
            for run in ended:
                group.create_task(look(run))
        return found

    async def _outcome(self, run: WorkflowExecution) -> Handled | Unreadable:
        try:
            return await self._speak_for(run)
        except Unreadable as error:
            return error
        except (RPCError, ValueError) as error:
            return Unreadable(str(error))

    def _ended(self, since: timedelta) -> AsyncIterator[WorkflowExecution]:
        after = (datetime.now(UTC) - since).isoformat()
        queue = self._queue.replace("'", "''")
        return self._client.list_workflows(
            f"TaskQueue = '{queue}' AND WorkflowType IN ({_TYPES})"
            f" AND ExecutionStatus IN ('Terminated', 'TimedOut') AND CloseTime >= '{after}'"
        )

    async def _speak_for(self, run: WorkflowExecution) -> Handled:
        delivery = f"tracking-delivery:reconcile:{run.run_id}"
        if await self._exists(delivery):
            return "before"
        events = await self._events_of(run)
        if not events:
            return "nothing"
        try:
            await self._client.start_workflow(
                DELIVERY_WORKFLOW,
                to_raw(DeliverRequest(events=events)),
                id=delivery,
                task_queue=self._queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                static_summary=f"Tracking events of {events[0]['instanceId']}",
            )
        except WorkflowAlreadyStartedError:
            return "before"
        return "delivered"

    async def _exists(self, workflow_id: str) -> bool:
        try:
            await self._client.get_workflow_handle(workflow_id).describe()
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return False
            raise
        return True

    async def _events_of(self, run: WorkflowExecution) -> list[Detail]:
        handle = self._client.get_workflow_handle(run.id, run_id=run.run_id)
        if run.workflow_type == DELIVERY_WORKFLOW:
            return await self._given(handle)
        ref = _ref_of(run)
        if ref is None:
            return []
        described = await handle.describe()
        left = await self._leftover(handle, described)
        carry = OutboxCarry.model_validate(left.outbox)
        outbox = Outbox(ref, run.id, carry)
        if left.tracked is None:
            # No worker said how it is tracked: the one that reconciles does.
            outbox.track(self._identity)
        if not (left.told or _was_reset(described)):
            await self._tell_end(handle, described, left, outbox)
        return outbox.take(all_of_them=True)

    async def _tell_end(
        self,
        handle: WorkflowHandle[Any, Any],
        described: WorkflowExecutionDescription,
        left: Leftover,
        outbox: Outbox,
    ) -> None:
        at = described.close_time or datetime.now(UTC)
        fields: Detail = {
            "reason": await self._reason(handle),
            "runCount": left.run_count,
            "discardedEvents": left.discarded,
            "ended": "terminated",
        }
        event_id = uuid7_at(at, f"{described.run_id}:job.terminated")
        outbox.emit("job.terminated", at, fields, event_id)

    async def _reason(self, handle: WorkflowHandle[Any, Any]) -> str:
        last = await anext(
            handle.fetch_history_events(
                event_filter_type=WorkflowHistoryEventFilterType.CLOSE_EVENT
            )
        )
        if last.HasField("workflow_execution_timed_out_event_attributes"):
            return "run time-out"
        reason = last.workflow_execution_terminated_event_attributes.reason
        return reason or "terminated from outside"

    # What an instance left unsaid.

    async def _leftover(
        self, handle: WorkflowHandle[Any, Any], described: WorkflowExecutionDescription
    ) -> Leftover:
        try:
            raw: Any = await handle.query(
                OUTBOX_QUERY, result_type=RawValue, rpc_timeout=_ANSWER_TIME
            )
        except WorkflowQueryFailedError as error:
            raise Unreadable(f"its worker cannot read it: {error}") from error
        except RPCError as error:
            if error.status == RPCStatusCode.FAILED_PRECONDITION and "closed" in error.message:
                return await self._without_run(handle, described)
            raise Unreadable(
                f"no worker of the task queue {self._queue!r} answered for it ({error.message})"
            ) from error
        return model_from_raw(Leftover, raw)

    async def _without_run(
        self, handle: WorkflowHandle[Any, Any], described: WorkflowExecutionDescription
    ) -> Leftover:
        """Of a run that ended before its first workflow task: all it has is its start."""
        start = await self._start_argument(handle)
        events = await self._signalled(handle)
        if "carry" in start:
            carry: Detail = unpack(start["carry"])
            machine: Detail = carry["machine"]
            return Leftover(
                outbox=carry["outbox"],
                tracked=carry["outbox"].get("tracked"),
                run_count=machine["life"]["run_count"],
                discarded=machine["waiting"] + machine.get("discarded", 0) + events,
            )
        first_run = described.raw_description.workflow_execution_info.first_run_id
        outbox = OutboxCarry(execution_id=first_run)
        kind = JOB_WORKFLOWS[described.workflow_type or ""]
        if kind.first_event == "job.started" or events:
            outbox.events.append(Emitted(type=kind.first_event, at=described.start_time))
        return Leftover(outbox=outbox.model_dump(mode="json"), tracked=None, discarded=events)

    async def _signalled(self, handle: WorkflowHandle[Any, Any]) -> int:
        """Events that reached a run in which nothing ever ran."""
        count = 0
        async for event in handle.fetch_history_events():
            if event.HasField("workflow_execution_signaled_event_attributes"):
                count += await self._events_in(event)
        return count

    async def _events_in(self, event: HistoryEvent) -> int:
        signal = event.workflow_execution_signaled_event_attributes
        takes = {name: what for kind in KINDS.values() for name, what in kind.verbs.items()}
        if takes.get(signal.signal_name) == "event":
            return 1
        if takes.get(signal.signal_name) != "events":
            return 0
        match await self._decoded(signal.input.payloads):
            case {"events": [*events]}:
                return len(events)
            case _:
                return 0

    async def _given(self, handle: WorkflowHandle[Any, Any]) -> list[Detail]:
        """All events of a delivery, those that it has delivered too: their ids tell."""
        given: list[Detail] = []
        async for event in handle.fetch_history_events():
            if event.HasField("workflow_execution_started_event_attributes"):
                payloads = event.workflow_execution_started_event_attributes.input.payloads
            elif event.HasField("workflow_execution_signaled_event_attributes"):
                payloads = event.workflow_execution_signaled_event_attributes.input.payloads
            else:
                continue
            given += DeliverRequest.model_validate(await self._decoded(payloads)).events
        return given

    async def _start_argument(self, handle: WorkflowHandle[Any, Any]) -> Any:
        first = await anext(handle.fetch_history_events(page_size=1))
        attributes = first.workflow_execution_started_event_attributes
        return await self._decoded(attributes.input.payloads)

    async def _decoded(self, payloads: Sequence[Payload]) -> Any:
        codec = self._client.data_converter.payload_codec
        found = await codec.decode(payloads) if codec is not None else payloads
        return from_raw(RawValue(found[0])) if found else None


def _ref_of(run: WorkflowExecution) -> JobRef | None:
    """None where its ID names no instance: such a one is refused at its start."""
    kind = JOB_WORKFLOWS[run.workflow_type]
    job_type, *name = run.id.split(":", 2)
    if job_type != kind.name or len(name) < 2:
        return None
    return JobRef(job_type=kind.name, job=name[0], key=name[1])


def _note(found: Reconciled, workflow_id: str, outcome: Handled | Unreadable) -> None:
    match outcome:
        case "delivered":
            found.delivered.append(workflow_id)
        case "before" | "nothing":
            setattr(found, outcome, getattr(found, outcome) + 1)
        case Unreadable():
            found.failed[workflow_id] = str(outcome)


def _was_reset(described: WorkflowExecutionDescription) -> bool:
    """Whether a reset ended it: another run goes on in its place."""
    return bool(described.raw_description.workflow_extended_info.reset_run_id)


class ReconcileActivities:
    """Lets a worker reconcile its task queue."""

    def __init__(self, identity: TrackingIdentity | None) -> None:
        self._identity = identity

    @activity.defn(name=RECONCILE)
    async def reconcile(self, raw: RawValue) -> RawValue:
        """Look once."""
        if self._identity is None:
            raise ApplicationError(_OFF, type="TrackingOff", non_retryable=True)
        since = timedelta(seconds=model_from_raw(ReconcileRequest, raw).since)
        reconciler = Reconciler(activity.client(), activity.info().task_queue, self._identity)
        return to_raw(await reconciler.reconcile(since, activity.heartbeat))

    def all(self) -> list[Callable[[RawValue], Awaitable[RawValue]]]:
        """The activities, to be registered."""
        return [self.reconcile]
