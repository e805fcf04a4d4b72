"""The real workflows in the place of a simulation's machines: the SDK runs them, without a server.

What the server does is done here: it keeps timers and activities, and tells the workflow of each in
an activation of its own. Activities, clock and client are those of the simulation.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from temporalio import workflow
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.api.failure.v1 import Failure
from temporalio.bridge.proto.activity_result import (
    ActivityResolution,
    Cancellation,
    Success,
)
from temporalio.bridge.proto.activity_result import Failure as ActivityFailure
from temporalio.bridge.proto.workflow_activation import (
    DoUpdate,
    FireTimer,
    InitializeWorkflow,
    ResolveActivity,
    SignalWorkflow,
    WorkflowActivation,
    WorkflowActivationJob,
)
from temporalio.bridge.proto.workflow_commands import ScheduleActivity, StartTimer, WorkflowCommand
from temporalio.common import (
    MetricMeter,
    Priority,
    RawValue,
    TypedSearchAttributes,
)
from temporalio.converter import DataConverter, DefaultFailureConverter
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError, RetryState
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    WorkflowInstanceDetails,
)

from durable_jobs.kinds import KINDS, JobKind
from durable_jobs.names import DELIVER
from durable_jobs.protocol import DeliverRequest, DeliverResult, JobRef, RunRequest
from durable_jobs.testing.execution import Surroundings
from durable_jobs.values import JSON
from durable_jobs.wire import model_from_raw, to_raw
from durable_jobs.workflows.machines.machine import Machine

CONVERTER = DataConverter.default
NAMESPACE = "simulation"


class RealExecution:
    """One workflow of an instance; in the place of an `Execution`."""

    def __init__(
        self, ref: JobRef, run_id: str, around: Surroundings, start: dict[str, JSON]
    ) -> None:
        self.kind: JobKind = KINDS[ref.job_type]
        self.ref = ref
        self.run_id = run_id
        self.started_at: datetime = around.clock.now()
        self.finished = False
        self._around = around
        self._loop = around.clock.loop
        self._length = 3
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._activities: dict[int, asyncio.Task[None]] = {}
        self._updates: dict[str, asyncio.Future[JSON]] = {}
        self._begun = False
        self._first_run_id = run_id
        self._continued: str | None = None
        self._run_began = self.started_at
        self._open(to_raw(start).payload)

    def _open(self, start: Payload) -> None:
        self._start = start
        self._instance: Any = UnsandboxedWorkflowRunner().create_instance(self._details())

    def _details(self) -> WorkflowInstanceDetails:
        cls = self.kind.load(self.kind.workflow_class)
        definition = workflow._Definition.must_from_class(cls)
        return WorkflowInstanceDetails(
            payload_converter_factory=lambda: CONVERTER.payload_converter,
            failure_converter_class=DefaultFailureConverter,
            interceptor_classes=[],
            defn=definition,
            info=self._info(),
            randomness_seed=0,
            extern_functions={"__temporal_get_metric_meter": lambda: MetricMeter.noop},
            disable_eager_activity_execution=True,
            worker_level_failure_exception_types=[],
            patch_activation_callback=None,
            last_completion_result=Payloads(),
            last_failure=None,
        )

    def _info(self) -> workflow.Info:
        return workflow.Info(
            attempt=1,
            continued_run_id=self._continued,
            cron_schedule=None,
            execution_timeout=None,
            first_execution_run_id=self._first_run_id,
            headers={},
            namespace=NAMESPACE,
            original_execution_run_id=self.run_id,
            parent=None,
            root=None,
            raw_memo={},
            retry_policy=None,
            run_id=self.run_id,
            run_timeout=None,
            search_attributes={},
            start_time=self._run_began,
            workflow_start_time=self._run_began,
            task_queue="simulation",
            task_timeout=timedelta(seconds=10),
            typed_search_attributes=TypedSearchAttributes([]),
            workflow_id=self.ref.instance_id,
            workflow_type=self.kind.workflow,
            priority=Priority.default,
        )

    @property
    def machine(self) -> Machine:
        """What decides for it."""
        return self._instance._object.driver.machine

    # -- what callers send

    def wake(self) -> None:
        """Begin, where it has not."""
        if not self._begun:
            self._activate()

    def receive(self, name: str, args: Sequence[RawValue]) -> None:
        """Signal it."""
        given = [raw.payload for raw in args]
        signal = SignalWorkflow(signal_name=name, input=given, originating_event_id=self._length)
        self._activate(WorkflowActivationJob(signal_workflow=signal))

    async def update(self, name: str, args: Sequence[RawValue], update_id: str) -> JSON:
        """Update it, and wait for the answer."""
        if update_id not in self._updates:
            waiting = self._updates[update_id] = self._loop.create_future()
            # Its caller may have gone when the answer comes.
            waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
            given = [raw.payload for raw in args]
            update = DoUpdate(
                id=update_id,
                protocol_instance_id=update_id,
                name=name,
                input=given,
                run_validator=True,
            )
            update.meta.update_id = update_id
            self._activate(WorkflowActivationJob(do_update=update))
        return await asyncio.shield(self._updates[update_id])

    # -- what the server does

    def _activate(self, *jobs: WorkflowActivationJob) -> None:
        if self.finished:
            return
        act = WorkflowActivation(run_id=self.run_id, history_length=self._length, jobs=jobs)
        if not self._begun:
            self._begun = True
            first = InitializeWorkflow(
                workflow_type=self.kind.workflow,
                workflow_id=self.ref.instance_id,
                arguments=[self._start],
                first_execution_run_id=self._first_run_id,
                continued_from_execution_run_id=self._continued or "",
            )
            first.start_time.FromDatetime(self._run_began)
            act.jobs.insert(0, WorkflowActivationJob(initialize_workflow=first))
        act.timestamp.FromDatetime(self._around.clock.now())
        done = self._instance.activate(act)
        # The workflow's own event loop ran in this thread.
        asyncio._set_running_loop(self._loop)
        assert not done.HasField("failed"), done.failed
        self._length += 10
        for command in done.successful.commands:
            self._do(command)

    def _do(self, command: WorkflowCommand) -> None:
        kind = command.WhichOneof("variant") or ""
        made = getattr(command, kind)
        acts: dict[str, Callable[[Any], None]] = {
            "start_timer": self._start_timer,
            "cancel_timer": lambda timer: self._timers.pop(timer.seq).cancel(),
            "schedule_activity": self._schedule,
            "request_cancel_activity": lambda asked: self._activities[asked.seq].cancel(),
            "update_response": self._answer,
            "complete_workflow_execution": lambda _: self._end(),
            "fail_workflow_execution": lambda _: self._end(),
            "continue_as_new_workflow_execution": lambda new: self._continue(new.arguments[0]),
        }
        acts[kind](made)

    def _start_timer(self, timer: StartTimer) -> None:
        due = self._around.clock.now() + timer.start_to_fire_timeout.ToTimedelta()
        at = self._around.clock.at(due)
        self._timers[timer.seq] = self._loop.call_at(at, self._fire, timer.seq)

    def _schedule(self, activity: ScheduleActivity) -> None:
        self._activities[activity.seq] = self._loop.create_task(self._make(activity))

    def _end(self) -> None:
        self.finished = True
        for each in (*self._timers.values(), *self._activities.values()):
            each.cancel()
        self._timers, self._activities = {}, {}

    def _continue(self, start: Payload) -> None:
        """Go on as another run; what is under way is abandoned."""
        self._end()
        self.finished = self._begun = False
        self._length, self._run_began = 3, self._around.clock.now()
        self._continued, self.run_id = self.run_id, str(uuid5(UUID(self.run_id), "next"))
        self._open(start)
        self._activate()

    def _fire(self, seq: int) -> None:
        del self._timers[seq]
        self._activate(WorkflowActivationJob(fire_timer=FireTimer(seq=seq)))

    def _answer(self, response: Any) -> None:
        waiting = self._updates[response.protocol_instance_id]
        match response.WhichOneof("response"):
            case "rejected":
                waiting.set_exception(self._error(response.rejected))
            case "completed":
                waiting.set_result(CONVERTER.payload_converter.from_payload(response.completed))
            case _:
                pass

    def _error(self, failure: Failure) -> BaseException:
        return CONVERTER.failure_converter.from_failure(failure, CONVERTER.payload_converter)

    async def _make(self, activity: ScheduleActivity) -> None:
        [payload] = activity.arguments
        try:
            raw = await self._result(activity.activity_type, RawValue(payload))
        except asyncio.CancelledError:
            failure = self._failure(CancelledError("cancelled"), activity)
            found = ActivityResolution(cancelled=Cancellation(failure=failure))
        except ApplicationError as error:
            found = ActivityResolution(
                failed=ActivityFailure(failure=self._failure(error, activity))
            )
        else:
            found = ActivityResolution(completed=Success(result=raw.payload))
        if self._activities.pop(activity.seq, None) is asyncio.current_task():
            resolved = ResolveActivity(seq=activity.seq, result=found)
            self._activate(WorkflowActivationJob(resolve_activity=resolved))

    async def _result(self, name: str, raw: RawValue) -> RawValue:
        worker = self._around.worker
        if name in worker.library:
            return await worker.library[name](raw)
        if name == DELIVER:
            return self._flushed(model_from_raw(DeliverRequest, raw))
        request = model_from_raw(RunRequest, raw)
        return await worker.execute(request, self._around.clock.now(), lambda mark: None)

    def _flushed(self, request: DeliverRequest) -> RawValue:
        worker = self._around.worker
        self._around.tell(request.events)
        options = worker.registry.options(self.ref.job) if request.job else None
        if options is not None and options.digest == request.digest:
            options = None
        return to_raw(
            DeliverResult(
                execution_id=request.execution_id,
                delivered=len(request.events),
                tracking=worker.identity,
                options=options,
            )
        )

    def _failure(self, error: BaseException, activity: ScheduleActivity) -> Failure:
        wrapped = ActivityError(
            "Activity task failed",
            scheduled_event_id=1,
            started_event_id=2,
            identity="simulation",
            activity_type=activity.activity_type,
            activity_id=activity.activity_id,
            retry_state=RetryState.NON_RETRYABLE_FAILURE,
        )
        wrapped.__cause__ = error
        failure = Failure()
        CONVERTER.failure_converter.to_failure(wrapped, CONVERTER.payload_converter, failure)
        return failure

    def lose_attempt(self) -> None:
        """No script kills workers here."""
        raise AssertionError
