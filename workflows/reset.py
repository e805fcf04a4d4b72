"""Lets a reset take effect before the signals that arrive with it.

The SDK (1.35) applies an activation's signals and updates first, and only then tells the workflow
that it was reset. What they make would still have the identity of the run before: an idempotency
key used again, tracking events of another execution.
"""

from collections.abc import Callable, Sequence

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
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


class ResetFirst(WorkflowRunner):
    """Runs workflows as another runner does; of our own, it splits the activation of a reset."""

    def __init__(self, runner: WorkflowRunner | None = None) -> None:
        self._runner = runner or UnsandboxedWorkflowRunner()

    def prepare_workflow(self, defn: _Definition) -> None:
        """See base class."""
        self._runner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See base class."""
        instance = self._runner.create_instance(det)
        if issubclass(det.defn.cls, JobWorkflow):
            setattr(instance, "activate", _reset_first(instance.activate))  # noqa: B010
        return instance

    def set_worker_level_failure_exception_types(
        self, types: Sequence[type[BaseException]]
    ) -> None:
        """See base class."""
        self._runner.set_worker_level_failure_exception_types(types)


def _reset_first(activate: Activate) -> Activate:
    def activate_in_order(act: WorkflowActivation) -> WorkflowActivationCompletion:
        resets = [job for job in act.jobs if job.HasField("update_random_seed")]
        others = [job for job in act.jobs if not job.HasField("update_random_seed")]
        if not (resets and others):
            return activate(act)
        # A reset alone makes no commands: only the second completion matters.
        activate(_with_jobs(act, resets))
        return activate(_with_jobs(act, others))

    return activate_in_order


def _with_jobs(act: WorkflowActivation, jobs: Sequence[object]) -> WorkflowActivation:
    part = WorkflowActivation()
    part.CopyFrom(act)
    del part.jobs[:]
    part.jobs.extend(jobs)  # pyright: ignore[reportArgumentType]
    return part
