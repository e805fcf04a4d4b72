"""Puts in order what the SDK (1.35) gives a workflow, so that a replay sees the same.

Four things would otherwise go wrong, each seen to wedge an instance or to repeat a key:

- Signals and updates that arrive with a reset are applied before the reset. What they make would
  have the identity of the run before: an idempotency key used again, events of another execution.
- A query that arrives while a local activity is under way can end the workflow task in between.
  The activity's result then comes after the signals of the next task, on replay before them.
- A query may reach a worker with news for which no workflow task was started yet. The workflow
  would act on them now, in another company and at another time than a replay has it.
- A workflow that has ended is still told of local activities that it left behind, and what its
  tasks then command is refused together with the end.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from temporalio.bridge.proto.workflow_activation import WorkflowActivation, WorkflowActivationJob
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    Worker,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowRunner,
)
from temporalio.workflow import _Definition  # pyright: ignore[reportPrivateUsage]

from .base import JobWorkflow
from .pacing import Pacer
from .resets import starting_with

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
        self.evict: Callable[[str], None] = _no_worker
        """Takes a run out of the worker's cache; set once there is a worker."""

    def prepare_workflow(self, defn: _Definition) -> None:
        """See base class."""
        self._runner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See base class."""
        instance = self._runner.create_instance(det)
        if issubclass(det.defn.cls, JobWorkflow):
            guard = _Guard(instance.activate, lambda run_id: self.evict(run_id))
            setattr(instance, "activate", guard.activate)  # noqa: B010
        return instance

    def set_worker_level_failure_exception_types(
        self, types: Sequence[type[BaseException]]
    ) -> None:
        """See base class."""
        self._runner.set_worker_level_failure_exception_types(types)


def guard_for(worker: Worker) -> None:
    """Let the guards of a worker take runs out of its cache."""
    config: Any = worker.config(active_config=True)
    runner = config["unsandboxed_workflow_runner"]
    # Not public: without it, the failed task that follows takes the run out of the cache too.
    core: Any = getattr(worker, "_bridge_worker", None)
    evict = getattr(core, "request_workflow_eviction", None)
    if isinstance(runner, OrderingRunner) and evict is not None:
        runner.evict = evict


class _Guard:
    """Stands before one instance of a workflow."""

    def __init__(self, activate: Activate, evict: Callable[[str], None]) -> None:
        self._activate = activate
        self._evict = evict
        self._local: set[int] = set()
        """Local activities under way."""

        self._task = _Task()
        self._pacer = Pacer()
        self._doomed = False
        self._ended = False

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Pass an activation on, in order."""
        if _only(act, "query_workflow"):
            return _nothing() if self._comes_back(act) else self._activate(act)
        if _only(act, "remove_from_cache"):
            return self._activate(act)
        if self._doomed:
            return _failed("the workflow is replayed: a query has shown it news before their time")
        if self._task.is_early(act):
            return self._foresee(act)
        return self._work(act)

    def _work(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        self._note_results(act.jobs)
        done = self._activate_in_order(act)
        if self._ended:
            return _nothing()
        self._note_commands(done)
        if _only(act, "signal_workflow") and not act.is_replaying:
            self._pacer.answer(at_once=bool(done.successful.commands))
        return done

    def _foresee(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Let the query that follows see the news, and forget the workflow after it."""
        self._doomed = True
        self._evict(act.run_id)
        self._activate(act)
        return _nothing()

    def _comes_back(self, act: WorkflowActivation) -> bool:
        """Whether the server asks a query again once the workflow task is done."""
        legacy = any(job.query_workflow.query_id == _LEGACY_QUERY for job in act.jobs)
        return bool(self._local) and not legacy

    def _activate_in_order(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        resets = [job for job in act.jobs if job.HasField("update_random_seed")]
        others = [job for job in act.jobs if not job.HasField("update_random_seed")]
        if not (resets and others):
            return self._activate(act)
        if any(job.HasField("initialize_workflow") for job in others):
            # There is no instance yet, which hears of it at its making.
            with starting_with(resets[-1].update_random_seed.randomness_seed):
                return self._activate(_with_jobs(act, others))
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


class _Task:
    """The workflow task at hand, as history notes it at its start."""

    def __init__(self) -> None:
        self._size = self._length = 0
        self._at = 0

    def is_early(self, act: WorkflowActivation) -> bool:
        """Whether an activation brings events of a task that was not started yet.

        A start notes the time, and the history's size, which has always grown since the last one.
        """
        starts = act.history_size_bytes != self._size or not act.history_size_bytes
        at = act.timestamp.ToNanoseconds()
        early = not starts and act.history_length > self._length and at == self._at
        self._at = at
        if not early:
            self._size, self._length = act.history_size_bytes, act.history_length
        return early


def _no_worker(run_id: str) -> None:
    """For a replayer, which has no queries."""


def _failed(message: str) -> WorkflowActivationCompletion:
    done = WorkflowActivationCompletion()
    done.failed.failure.message = message
    return done


def _only(act: WorkflowActivation, kind: str) -> bool:
    return bool(act.jobs) and all(job.WhichOneof("variant") == kind for job in act.jobs)


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
