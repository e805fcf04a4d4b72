"""What workflows and activities say to each other, recorded in Temporal's history.

A field added later needs a default, so that running instances replay.
"""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from .retry import RetryRule
from .spans import Moment, Pause, Span
from .values import JSON

JobType = Literal["continuous", "debounce", "task", "workerPool"]
OnExhausted = Literal["continue", "pause", "terminate"]
FlushReason = Literal["timeout", "quiet", "max_events", "max_bytes", "manual", "leading"]
Limit = Literal["max_attempts", "max_duration"]

Detail = dict[str, JSON]


class Record(BaseModel):
    """Base of all records: immutable, unknown fields of newer versions are ignored."""

    # What is wrong with one may be shown; what is in it may not.
    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, hide_input_in_errors=True)


EventTypes = Literal["all", "core"]
"""Which types of tracking events are made: `core` leaves out `job.paused` and `job.resumed`."""


class TrackingIdentity(Record):
    """Where tracking events of an instance come from."""

    env: str = ""
    service_key: str = ""
    types: EventTypes = "all"


class Options(Record):
    """A definition's options as data."""

    retry: RetryRule
    timeout: Span
    heartbeat_timeout: Span
    on_exhausted: OnExhausted
    include_state: bool = False
    keep_checkpoint: bool = False
    """Whether a checkpoint outlives a run that failed for good."""

    handlers: list[str] = Field(default_factory=list)
    tracking: TrackingIdentity | None = None
    """None: the worker does not track. A client's options never say."""

    spec: Detail = Field(default_factory=dict)
    """What only one job type has: windows, a schedule."""

    digest: str = ""
    """Tells two versions of the options apart."""


class JobRef(Record):
    """Names one instance of one job."""

    job_type: JobType
    job: str
    key: str

    @property
    def instance_id(self) -> str:
        """Its workflow ID."""
        return f"{self.job_type}:{self.job}:{self.key}"


class Begun(Record):
    """A run that may have begun before its event went back to the queue."""

    key: str
    """Its idempotency key."""

    attempts: int = 0
    """Attempts of it that may have been lost."""


class EventIn(Record):
    """One event as it came, with the caller's id for it."""

    data: JSON
    id: str | None = None


class Checkpoint(Record):
    """A state that a run has reached, kept for its next attempt."""

    state: JSON
    state_version: int
    run_key: str


class Heartbeat(Record):
    """What an attempt that was lost had said of itself."""

    first_started_at: Moment | None = None
    checkpoint: Checkpoint | None = None
    progress: Detail | None = None


class Report(Record):
    """One attempt that did not succeed, as the attempt itself saw it."""

    attempt: int
    event_id: str
    at: Moment
    message: str
    """The error's type and text."""

    type: str = ""
    stack: str | None = None
    retry_in: Pause | None = None
    """Seconds until the next attempt. None: the run has failed for good."""

    exhausted: Limit | None = None
    """The limit that was reached, where one was."""

    snoozed: bool = False
    """Whether the handler only put the run off: then it is no attempt."""

    job_pause: str | None = None
    """The note on the pause of the whole job, empty for none; then nothing was begun."""

    first_started_at: Moment | None = None
    """When the run's first attempt began."""

    checkpoint: Checkpoint | None = None
    progress: Detail | None = None
    pre_state: JSON = None
    has_pre_state: bool = False
    options: Options | None = None
    """The worker's options, where they are not those of the request."""

    @property
    def text(self) -> str:
        """The error's text without its type."""
        return self.message.removeprefix(f"{self.type}: ")

    @property
    def will_retry(self) -> bool:
        """Whether another attempt follows."""
        return self.retry_in is not None


class RunRequest(JobRef):
    """The input of one handler activity."""

    handler: str
    run_count: int
    idempotency_key: str
    attempt: int = 1
    first_started_at: datetime | None = None
    """When the run's first attempt began; None for the first one."""

    deadline: datetime | None = None
    """No attempt begins at or after it."""

    timeout: float
    digest: str = ""
    """Of the options as a worker gave them; empty while none has."""

    state: JSON = None
    has_state: bool = False
    """False: there is no state yet, the activity asks the job for an initial one."""

    state_version: int = 1
    checkpoint: Checkpoint | None = None
    progress: Detail | None = None
    """Of earlier attempts of this run."""

    detail: Detail = Field(default_factory=dict)
    """What only one job type's handlers need."""


class Executed(Record):
    """A successful attempt, as it becomes `job.executed`."""

    event_id: str
    at: Moment
    duration_ms: int
    attempt: int
    pre_state: JSON = None
    has_pre_state: bool = False


class RunResult(Record):
    """What a successful attempt gives back to the workflow."""

    state: JSON = None
    state_version: int = 1
    ran: bool = True
    """False: there was nothing to call the user's code for."""

    terminate: bool = False
    terminate_reason: str | None = None
    detail: Detail = Field(default_factory=dict)
    executed: Executed | None = None
    options: Options | None = None
    """The worker's options, where they are not those the request was made with."""

    after: "list[RunResult]" = Field(default_factory=list["RunResult"])
    """Of a burst: the events handled after the first, in order. The last that ran has the state."""

    failed: Report | None = None
    """Of a burst: the failed attempt of the event after those handled."""

    cut_off: bool = False
    """Of a burst: whether the event after those handled had begun when the attempt had to end."""


class DeliverRequest(Record):
    """Tracking events to deliver."""

    events: list[Detail]
    execution_id: str = ""
    """What the events are numbered within."""

    patience: float = 10.0
    """Seconds to wait for the collector before the rest is handed over."""

    until_settled: bool = False
    """Whether the activity fails, to be tried again, until each event is settled."""

    tracked: bool = False
    """Whether the events are known to be tracked: a worker that does not track hands them over."""

    job: JobRef | None = None
    """Asks for the options of this instance's job, where they are not those of the digest."""

    digest: str = ""


class DeliverResult(Record):
    """What became of tracking events: each was settled in one of four ways, or none was."""

    execution_id: str = ""
    delivered: int = 0
    rejected: dict[str, str] = Field(default_factory=dict[str, str])
    """Events that were refused for good, by their ids, and why."""

    dropped: int = 0
    handed_over: int = 0
    """A `TrackingDelivery` delivers these from now on."""

    last_error: str | None = None
    tracking: TrackingIdentity | None = None
    """How the worker tracks; None: it does not."""

    options: Options | None = None
    unknown: str | None = None
    """Of a worker that was asked about a job that it does not know: says so."""

    @property
    def settled(self) -> int:
        """How many events need nothing more; 0 where the worker left them."""
        return self.delivered + len(self.rejected) + self.dropped + self.handed_over


class Leftover(Record):
    """What an instance that was ended from outside left unsaid."""

    outbox: Detail
    """As continue-as-new would have carried it."""

    tracked: bool | None = False
    """None: no worker said whether it is tracked."""

    run_count: int = 0
    discarded: int = 0
    """Events that were accepted and never ran."""

    told: bool = False
    """Whether it said by itself that it ended."""


class ReconcileRequest(Record):
    """Asks to look at what was ended from outside of late."""

    since: float
    """Seconds before now."""


class Reconciled(BaseModel):
    """What was found to have been ended from outside, by workflow ID, and what was done."""

    delivered: list[str] = Field(default_factory=list[str])
    """Their events are under way now."""

    before: int = 0
    """Dealt with by an earlier reconcile."""

    nothing: int = 0
    """Not tracked, or with nothing left to say."""

    failed: dict[str, str] = Field(default_factory=dict[str, str])
    """Could not be read, and why; try again."""
