"""Puts in order what the SDK (1.35) gives a workflow, so that a replay sees the same.

Three things would otherwise go wrong, each seen to wedge an instance or to repeat a key:

- Signals and updates that arrive with a reset are applied before the reset. What they make would
  have the identity of the run before: an idempotency key used again, events of another execution.
- A query that arrives while a local activity is under way can end the workflow task in between.
  The activity's result then comes after the signals of the next task, on replay before them.
- A workflow that has ended is still told of local activities that it left behind, and what its
  tasks then command is refused together with the end.
"""

from collections.abc import Callable, Iterable, Sequence

from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowRunner,
)
from temporalio.workflow import _Definition  # pyright: ignore[reportPrivateUsage]

from .base import JobWorkflow

Activate = Callable[[WorkflowActivation], WorkflowActivationCompletion]

_LEGACY_QUERY = "legacy_query"
"""A query that has its own task, and so no local activity beside it."""

_ENDS = {
    "complete_workflow_execution",
    "fail_workflow_execution",
    "cancel_workflow_execution",
    "continue_as_new_workflow_execution",
}


class OrderingRunner(WorkflowRunner):
    """Runs workflows as another runner does; guards our own."""

    def __init__(self, runner: WorkflowRunner | None = None) -> None:
        self._runner = runner or UnsandboxedWorkflowRunner()

    def prepare_workflow(self, defn: _Definition) -> None:
        """See base class."""
        self._runner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See base class."""
        instance = self._runner.create_instance(det)
        if issubclass(det.defn.cls, JobWorkflow):
            setattr(instance, "activate", _Guard(instance.activate).activate)  # noqa: B010
        return instance

    def set_worker_level_failure_exception_types(
        self, types: Sequence[type[BaseException]]
    ) -> None:
        """See base class."""
        self._runner.set_worker_level_failure_exception_types(types)


class _Guard:
    """Stands before one instance of a workflow."""

    def __init__(self, activate: Activate) -> None:
        self._activate = activate
        self._local: set[int] = set()
        """Local activities under way."""

        self._ended = False

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Pass an activation on, in order."""
        if self._local and _is_query(act):
            # The server asks again once the workflow task is done.
            return _nothing()
        self._note_results(act.jobs)
        done = self._activate_in_order(act)
        if self._ended and not any(job.HasField("query_workflow") for job in act.jobs):
            return _nothing()
        self._note_commands(done)
        return done

    def _activate_in_order(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        resets = [job for job in act.jobs if job.HasField("update_random_seed")]
        others = [job for job in act.jobs if not job.HasField("update_random_seed")]
        if not (resets and others):
            return self._activate(act)
        # A reset alone makes no commands: only the second completion matters.
        self._activate(_with_jobs(act, resets))
        return self._activate(_with_jobs(act, others))

    def _note_results(self, jobs: Iterable[WorkflowActivationJob]) -> None:
        for job in jobs:
            if job.HasField("resolve_activity") and job.resolve_activity.is_local:
                self._local.discard(job.resolve_activity.seq)

    def _note_commands(self, done: WorkflowActivationCompletion) -> None:
        for command in done.successful.commands:
            if command.HasField("schedule_local_activity"):
                self._local.add(command.schedule_local_activity.seq)
            self._ended = self._ended or command.WhichOneof("variant") in _ENDS


def _is_query(act: WorkflowActivation) -> bool:
    return bool(act.jobs) and all(
        job.HasField("query_workflow") and job.query_workflow.query_id != _LEGACY_QUERY
        for job in act.jobs
    )


def _nothing() -> WorkflowActivationCompletion:
    done = WorkflowActivationCompletion()
    done.successful.SetInParent()
    return done


def _with_jobs(
    act: WorkflowActivation, jobs: Iterable[WorkflowActivationJob]
) -> WorkflowActivation:
    part = WorkflowActivation()
    part.CopyFrom(act)
    del part.jobs[:]
    part.jobs.extend(jobs)
    return part
