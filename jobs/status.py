"""Answers of the client: frozen values with snake_case names and datetimes."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from .protocol import FlushReason, JobType

StatusWord = Literal[
    "scheduled",
    "debouncing",
    "idle",
    "running",
    "retrying",
    "paused",
    "terminating",
    "completed",
    "terminated",
    "failed",
]


class Answer(BaseModel):
    """Base of all answers: immutable, camelCase on the wire."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True
    )


class TrackingStatus(Answer):
    """What became of an instance's tracking events."""

    pending: int = 0
    delivered: int = 0
    rejected: int = 0
    dropped: int = 0
    handed_over: int = 0
    """To a `TrackingDelivery`, which delivers them from then on."""

    last_error: str | None = None


class Rejection(Answer):
    """An event that was not taken."""

    at: datetime
    reason: str
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, as its handler says."""

    done: float
    total: float | None = None
    message: str | None = None


class JobStatus(Answer):
    """What an instance does."""

    job_type: JobType
    job_name: str
    key: str
    instance_id: str
    status: StatusWord
    run_count: int
    attempt: int
    event_count: int
    event_bytes: int = 0
    """Of a debounce: what its events have as JSON."""

    next_run_at: datetime | None
    will_flush_at: datetime | None
    flush_reason: FlushReason | None = None
    """Why the run under way flushes; else why the window will at `will_flush_at`."""

    started_at: datetime
    reason: str | None = None
    """Of an ended instance: why it ended."""

    last_error: str | None
    paused_at: datetime | None = None
    """Since when it is paused."""

    paused_by: Literal["user", "exhausted", "job"] | None = None
    """A caller, a run that failed for good under `on_exhausted = "pause"`, or its whole job."""

    pause_note: str | None = None
    resumed_at: datetime | None = None
    """When the last pause ended."""

    resume_note: str | None = None
    rejected_events: int
    rejections: tuple[Rejection, ...] = ()
    """The last 20, with the reason for each."""

    schedule: dict[str, Any] | None = None
    """Of a continuous job: the schedule in force, as `reschedule` takes it on the wire."""

    rescheduled: bool = False
    """Whether that is one set by `reschedule`, not the job's own."""

    tracking: TrackingStatus = Field(default_factory=TrackingStatus)
    failed_events: tuple[dict[str, Any], ...] = ()
    """Of a task or pool: the last 100 events set aside after their last attempt, with their error.

    Each has the `id` by which `redrive` puts it back.
    """

    progress: Progress | None = None
    """Of the run under way: what it last said, as its heartbeats bring it."""

    discarded_events: int = 0
    """Of a task or pool: events that were dropped, or set aside and had to go for later ones."""

    handled_events: int = 0
    """Of a task or pool: events that a handler was called for; of a pool those that succeeded."""

    execute_count: int = 0
    """Of a task: runs of `execute`, each counted once."""

    draining: bool = False
    """Of a worker pool's instance: whether it ends once its queue is empty."""

    oldest_event_at: datetime | None = None
    """Of a worker pool's instance: when the oldest event came that waits or is under way."""


class WorkerPoolStatus(Answer):
    """What all instances of a worker pool do."""

    job_name: str
    concurrency: int
    instances: tuple[JobStatus, ...]
    """Those that are or were there, by index; `key` is the index.

    One from `concurrency` on was left behind by a smaller one. It is listed until it has ended.
    """

    @property
    def event_count(self) -> int:
        """Events that wait or are under way."""
        return sum(status.event_count for status in self.instances)

    @property
    def running(self) -> int:
        """Instances that handle an event now, or wait for its next attempt."""
        return sum(status.status in ("running", "retrying") for status in self.instances)

    @property
    def handled_events(self) -> int:
        """Events that were handled with success, since each instance began."""
        return sum(status.handled_events for status in self.instances)

    @property
    def rejected_events(self) -> int:
        """Events that were not taken, since they did not fit."""
        return sum(status.rejected_events for status in self.instances)

    @property
    def discarded_events(self) -> int:
        """Events that were dropped."""
        return sum(status.discarded_events for status in self.instances)

    @property
    def failed_events(self) -> tuple[dict[str, Any], ...]:
        """Events that failed for good, with their error; `id` is the one for `redrive`."""
        return tuple(failed for status in self.instances for failed in status.failed_events)

    @property
    def oldest_event_at(self) -> datetime | None:
        """When the oldest event came that waits or is under way."""
        waiting = (status.oldest_event_at for status in self.instances)
        return min((at for at in waiting if at is not None), default=None)


class AddReceipt(Answer):
    """The answer of `add_confirmed`."""

    created: bool
    """Whether the event opened the instance."""

    event_count: int
    will_flush_at: datetime | None
    duplicate: bool
    """Whether the event's id was seen before; it was dropped then."""


class StartReceipt(Answer):
    """The answer of `start`."""

    created: bool
    """False: the instance was alive, nothing changed."""

    instance_id: str
    status: StatusWord


class EraseReceipt(Answer):
    """The answer of `erase`."""

    instance_id: str
    ended: bool
    """Whether the instance was alive, and was ended for it."""

    deleted_runs: int
    """Its Temporal runs that were deleted: 0 where Temporal knew none."""

    deleted_deliveries: int
    """Deliveries that carried tracking events of it while their collector took none."""

    reopened: bool
    """Whether an event that came meanwhile opened a new life, which was left alone."""
