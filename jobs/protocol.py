"""What workflows and activities say to each other, recorded in Temporal's history.

A field added later needs a default, so that running instances replay.
"""

from datetime import datetime, timedelta
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from .retry import RetryRule
from .wire import JSON

JobType = Literal["continuous", "debounce", "task"]
OnExhausted = Literal["continue", "pause", "terminate"]
FlushReason = Literal["timeout", "quiet", "max_events", "max_bytes", "manual", "leading"]

Detail = dict[str, JSON]


class Record(BaseModel):
    """Base of all records: immutable, unknown fields of newer versions are ignored."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)


EventTypes = Literal["all", "core"]
"""Which types of tracking events are made: `core` leaves out `job.paused` and `job.resumed`."""


class TrackingIdentity(Record):
    """Where tracking events of an instance come from."""

    env: str = ""
    service_key: str = ""
    types: EventTypes = "core"
    """What no word of it was recorded for, knew no other types."""


class Options(Record):
    """A definition's options as data."""

    retry: RetryRule
    timeout: float
    heartbeat_timeout: float
    on_exhausted: OnExhausted
    include_state: bool = False
    handlers: list[str] = Field(default_factory=list)
    tracking: TrackingIdentity | None = None
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
    """A run that may have begun."""

    key: str
    """Its idempotency key."""

    attempts: int
    """Attempts of it that were lost."""


class EventIn(Record):
    """One event as it came, with the caller's id for it."""

    data: JSON
    id: str | None = None
    begun: Begun | None = Field(default=None, exclude_if=lambda begun: begun is None)
    """The run that it may have begun, in a burst that was lost."""


class Verdicts(Record):
    """What is known of the delivery of tracking events, by event id."""

    delivered: list[str] = Field(default_factory=list)
    rejected: dict[str, str] = Field(default_factory=dict)
    dropped: dict[str, str] = Field(default_factory=dict)
    kept: list[str] = Field(default_factory=list)
    """A workflow of their own delivers these from now on."""

    trouble: str | None = None

    def settled(self) -> set[str]:
        """The ids that the instance need not deliver any more."""
        return {*self.delivered, *self.rejected, *self.dropped, *self.kept}


class Report(Record):
    """One attempt's failure, as the attempt itself saw it."""

    run_key: str
    """The run's idempotency key."""

    handler: str
    attempt: int
    will_retry: bool
    event_id: str
    at: datetime
    message: str
    """The error's type and text."""

    type: str = ""
    stack: str | None = None
    exhausted: Literal["max_attempts", "max_duration"] | None = None
    retry_in: float | None = None
    """Seconds until the next attempt."""

    pre_state: JSON = None
    has_pre_state: bool = False
    options: Options | None = None
    """Of a last failure: the worker's options, where they are not those of the request."""

    lost: bool = False
    """The attempt could not speak for itself."""

    synthetic: bool = False
    """Made by the workflow, for an attempt that could not make its own."""

    first_started_at: datetime | None = None
    """When the run's first attempt began."""

    earlier: list["Report"] = Field(default_factory=list["Report"])
    """Those of attempts before it that could not be given yet."""

    verdicts: Verdicts | None = None
    """On the tracking events that its activity took along."""

    @property
    def text(self) -> str:
        """The error's text without its type."""
        return self.message.removeprefix(f"{self.type}: ")


class Checkpoint(Record):
    """A state that a run has reached, kept for its next attempt."""

    state: JSON
    state_version: int
    run_key: str
    base: str
    """Tells the state that the attempt began with, which a lost burst may not reach again."""


class Reached(Record):
    """How far a run got with an activity that ended before the run did."""

    attempts_before: int
    """Attempts that count."""

    first_started_at: datetime | None = None
    report: Report | None = None
    """Of the last attempt, where it failed."""

    checkpoint: Checkpoint | None = None
    progress: Detail | None = None
    """What the run has last said of its progress."""


class RunRequest(JobRef):
    """The input of one handler activity; the same for each of its attempts."""

    handler: str
    run_count: int
    idempotency_key: str
    attempts_before: int = 0
    """Attempts of this run that an earlier activity made."""

    first_started_at: datetime | None = None
    """When the run's first attempt began, where an earlier activity made it."""

    deadline: datetime | None = None
    """No attempt begins at or after it."""

    retry: RetryRule
    timeout: float
    include_state: bool = False
    digest: str = ""
    state: JSON = None
    has_state: bool = False
    """False: there is no state yet, the activity asks the job for an initial one."""

    state_version: int = 1
    checkpoint: Checkpoint | None = None
    progress: Detail | None = None
    """Of earlier activities of this run."""

    alone: bool = Field(default=False, exclude_if=lambda alone: not alone)
    """Whether the activity makes one attempt, and the workflow decides on the next one."""

    detail: Detail = Field(default_factory=dict)
    """What only one job type's handlers need."""

    outbox: list[Detail] = Field(default_factory=list[Detail])
    """Undelivered tracking events: the worker delivers them while the handler runs."""

    asked: list[str] = Field(default_factory=list[str], exclude_if=lambda asked: not asked)
    """The ids of others that a worker was given before: the result tells what became of them."""


class Terms(Record):
    """How Temporal is to make the attempts of one activity."""

    activity: str
    summary: str
    timeout: float
    heartbeat_timeout: float
    initial: float
    factor: float
    maximum: float
    most: int
    """Attempts; 0 for any number."""


class Away(Record):
    """What a workflow that makes an attempt for an instance is given beside the request."""

    instance_id: str
    terms: Terms


class Outcome(Record):
    """What came of an activity that a workflow of its own made; a result goes beside it."""

    place: str
    """That workflow's ID."""

    failure: str | None = None
    """Temporal's own record of it, as base64. Without one, or a result, it was cut off."""


class Executed(Record):
    """A successful attempt, as it becomes `job.executed`."""

    event_id: str
    at: datetime
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

    earlier: list[Report] = Field(default_factory=list[Report])
    """Reports of failed attempts that could not be given before."""

    verdicts: Verdicts | None = None
    delivers: bool = Field(default=False, exclude_if=lambda delivers: not delivers)
    """Whether its worker gets tracking events through, so that an end's may leave with its task."""

    after: "list[RunResult]" = Field(default_factory=list["RunResult"])
    """Of a burst: the events handled after the first, in order. The last that ran has the state."""

    reached: Reached | None = None
    """Of a burst: what ended it, an attempt of the event after those that failed or was cut off."""


class FlushRequest(Record):
    """Tracking events to deliver."""

    events: list[Detail]
    keep: bool = False
    """Whether what is not delivered at once is to be kept by a workflow of its own: at an end."""

    lived: timedelta | None = None
    """At an end: how long the instance did."""

    waited: bool = False
    """Whether the instance has waited for them already, so that this must not."""


class Leftover(Record):
    """What an instance that was ended from outside left unsaid."""

    outbox: Detail
    """As continue-as-new would have carried it."""

    tracking: TrackingIdentity | None = None
    """None: the instance was not tracked."""

    run_count: int = 0
    discarded: int = 0
    """Events that were accepted and never ran."""

    told: bool = False
    """Whether it said by itself that it ended."""

    began: str | None = None
    """The type of a first event that it may have sent, though none of its tasks was kept."""


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
