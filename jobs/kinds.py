"""The job types there are: the one list from which everything else knows them.

A new type is one entry here, its definition, its machine, its workflow and its handle. What an
entry names by a path is imported where it is used, so that a client needs no workflow.
"""

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from .protocol import JobType

Argument = Literal["event", "events", "nothing", "note", "reason", "id", "schedule"]
"""What a verb takes."""

_COMMON: dict[str, Argument] = {"pause": "note", "resume": "note", "terminate": "reason"}


@dataclass(frozen=True)
class JobKind:
    """One job type."""

    name: JobType
    workflow: str
    """The workflow type."""

    definition: str
    """Where the class is from which users derive their jobs."""

    workflow_class: str
    handle: str
    verbs: dict[str, Argument]
    """The signals and updates that its instances take."""

    update_only: frozenset[str] = frozenset()
    first_event: str = "job.started"
    """The type of the tracking event that a life begins with."""

    has_state: bool = True
    key_pattern: str = ".+"
    """What a key looks like, as a regular expression."""

    key_meaning: str = "any text"
    """The same in words."""

    @property
    def brings(self) -> frozenset[str]:
        """The verbs that bring events, and so open a life."""
        return frozenset(verb for verb, takes in self.verbs.items() if takes in ("event", "events"))

    @property
    def controls(self) -> tuple[str, ...]:
        """The verbs that bring none."""
        return tuple(verb for verb in self.verbs if verb not in self.brings)

    def takes_key(self, key: str) -> bool:
        """Whether an instance can have this key."""
        return re.fullmatch(self.key_pattern, key, re.DOTALL | re.ASCII) is not None

    def load(self, path: str) -> Any:
        """What one of its paths names."""
        module, name = path.split(":")
        return getattr(import_module(module), name)


KINDS: dict[str, JobKind] = {
    kind.name: kind
    for kind in (
        JobKind(
            name="continuous",
            workflow="ContinuousJob",
            definition="durable_jobs.definitions.continuous:ContinuousJob",
            workflow_class="durable_jobs.workflows.workflow:ContinuousWorkflow",
            handle="durable_jobs.handles.continuous:ContinuousHandle",
            verbs={**_COMMON, "trigger": "nothing", "reschedule": "schedule"},
        ),
        JobKind(
            name="debounce",
            workflow="DebounceJob",
            definition="durable_jobs.definitions.debounce:DebounceJob",
            workflow_class="durable_jobs.workflows.workflow:DebounceWorkflow",
            handle="durable_jobs.handles.debounce:DebounceHandle",
            verbs={
                **_COMMON,
                "add": "event",
                "add_batch": "events",
                "flush": "nothing",
                "clear": "nothing",
            },
            first_event="debounce.started",
        ),
        JobKind(
            name="task",
            workflow="TaskJob",
            definition="durable_jobs.definitions.task:TaskJob",
            workflow_class="durable_jobs.workflows.workflow:TaskWorkflow",
            handle="durable_jobs.handles.task:TaskHandle",
            verbs={
                **_COMMON,
                "send": "event",
                "send_batch": "events",
                "ask": "event",
                "trigger": "nothing",
                "redrive": "id",
            },
            update_only=frozenset({"ask"}),
        ),
        JobKind(
            name="workerPool",
            workflow="WorkerPoolJob",
            definition="durable_jobs.definitions.worker_pool:WorkerPoolJob",
            workflow_class="durable_jobs.workflows.workflow:WorkerPoolWorkflow",
            handle="durable_jobs.handles.worker_pool:WorkerPoolHandle",
            verbs={
                **_COMMON,
                "enqueue": "event",
                "enqueue_batch": "events",
                "trigger": "nothing",
                "drain": "nothing",
                "clear": "nothing",
                "redrive": "id",
            },
            has_state=False,
            key_pattern="0|[1-9][0-9]{0,2}",
            key_meaning="its index, 0 to 999",
        ),
    )
}
