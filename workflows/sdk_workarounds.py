"""What the SDK makes us work around. Each entry says what goes wrong and where it was seen.

`tests/replay/test_sdk_workarounds.py` shows each fault on a bare worker, and fails once it is gone.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.common import RawValue
from temporalio.worker import (
    UnsandboxedWorkflowRunner,
    Worker,
    WorkflowInstance,
    WorkflowInstanceDetails,
    WorkflowRunner,
)
from temporalio.workflow import _Definition  # pyright: ignore[reportPrivateUsage]

_Activate = Callable[[WorkflowActivation], WorkflowActivationCompletion]
_Method = TypeVar("_Method", bound=Callable[..., Any])


def raw_start(method: _Method) -> _Method:
    """Has a workflow's start argument come as the payload it was sent as.

    What goes wrong: a workflow that is started with too many arguments, or with one that cannot be
    decoded, fails its task again and again instead of failing with words. A method of any number
    of arguments would take them, but the SDK decodes those first. Seen with 1.35.
    """
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    start = inspect.Parameter("start", kind, annotation=RawValue)
    method.__annotations__["start"] = RawValue
    declared = inspect.Signature([inspect.Parameter("self", kind), start])
    setattr(method, "__signature__", declared)  # noqa: B010 - pyright knows no such attribute
    return method


class NewsRunner(WorkflowRunner):
    """Lets a query with news leave no trace in the workflows of one base class.

    What goes wrong: a query that waited for a worker may bring a cached workflow events for which
    no workflow task has begun. The workflow acts on them then, at another time and in another
    company than a replay: the next replay fails as non-deterministic. Seen with 1.35.

    What we do: the query sees the news, what the workflow wants to do is dropped, and the workflow
    leaves the cache, so that the server sends its whole history with the next task.
    """

    def __init__(self, base: type, runner: WorkflowRunner | None = None) -> None:
        self._base = base
        self._runner = runner or UnsandboxedWorkflowRunner()
        self.evict: Callable[[str], None] = lambda _: None
        """Takes a workflow out of the worker's cache, once the activation at hand is done."""

    @staticmethod
    def serve(worker: Worker) -> None:
        """Let the runner of a worker, where it is one of these, use that worker's cache."""
        runner = getattr(worker._workflow_worker, "_unsandboxed_workflow_runner", None)  # pyright: ignore[reportPrivateUsage]
        if isinstance(runner, NewsRunner):
            runner.evict = worker._bridge_worker.request_workflow_eviction  # pyright: ignore[reportPrivateUsage]

    def prepare_workflow(self, defn: _Definition) -> None:
        """See base class."""
        self._runner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See base class."""
        instance = self._runner.create_instance(det)
        if issubclass(det.defn.cls, self._base):
            setattr(instance, "activate", _Watch(instance.activate, self).activate)  # noqa: B010
        return instance

    def set_worker_level_failure_exception_types(
        self, types: Sequence[type[BaseException]]
    ) -> None:
        """See base class."""
        self._runner.set_worker_level_failure_exception_types(types)


class _Watch:
    """Stands before one workflow, and tells news that come too early."""

    def __init__(self, activate: _Activate, runner: NewsRunner) -> None:
        self._activate = activate
        self._runner = runner
        self._size = self._length = self._at = 0
        self._spoilt = False

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Pass an activation on."""
        kinds = {job.WhichOneof("variant") for job in act.jobs}
        if kinds <= {"query_workflow"} or kinds == {"remove_from_cache"}:
            done = self._activate(act)
            if self._spoilt and kinds == {"query_workflow"}:
                # Its next task may have nothing new for it: then nobody would ask it again.
                self._runner.evict(act.run_id)
            return done
        done = WorkflowActivationCompletion()
        if self._spoilt:
            done.failed.failure.message = "replayed: a query has shown the workflow news too early"
            return done
        if not self._is_early(act):
            return self._activate(act)
        self._spoilt = True
        self._activate(act)
        done.successful.SetInParent()
        return done

    def _is_early(self, act: WorkflowActivation) -> bool:
        """Whether it brings events of a task that was not started: a start notes time and size."""
        at = act.timestamp.ToNanoseconds()
        same_task = act.history_size_bytes == self._size and bool(act.history_size_bytes)
        early = same_task and act.history_length > self._length and at == self._at
        self._at = at
        if not early:
            self._size, self._length = act.history_size_bytes, act.history_length
        return early
