"""A model per tracking event type, for whoever reads what we send.

Fields that a later version adds are ignored, so an older collector goes on parsing.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, ClassVar, Literal, TypeAlias, get_args

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeInt,
    PlainSerializer,
    PositiveInt,
    TypeAdapter,
)
from pydantic.alias_generators import to_camel

from .ids import iso_ms
from .moments import read_moment
from .wire import WireEvent


def _written(when: datetime) -> str:
    return iso_ms(when)


Timestamp: TypeAlias = Annotated[
    AwareDatetime, PlainSerializer(_written, return_type=str, when_used="json")
]
"""An aware datetime, written with milliseconds and `Z`."""


class _Model(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )


class EventError(_Model):
    """The error of a failed attempt; no text in it quotes event data."""

    message: str
    stack: str | None = None


class BaseEvent(_Model):
    """What every tracking event carries.

    `execution_id` and `sequence` (1, 2, 3, … without a gap) show whether any is missing.
    """

    event_id: str
    timestamp: Timestamp
    source: Literal["job"] = "job"
    instance_id: str
    id: str
    job_type: Literal["continuous", "debounce", "task", "workerPool"]
    job_name: str
    env: str
    service_key: str
    execution_id: str
    sequence: PositiveInt

    def to_wire(self) -> WireEvent:
        """The event as the JSON object that is sent; fields that are None are left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class JobStarted(BaseEvent):
    """An instance of any type but debounce was created."""

    type: Literal["job.started"] = "job.started"
    input: JsonValue = None


class JobExecuted(BaseEvent):
    """A run succeeded. `handler` says which one ran; `duration_ms` is that of its last attempt."""

    type: Literal["job.executed"] = "job.executed"
    run_count: PositiveInt
    duration_ms: NonNegativeInt
    attempt: PositiveInt
    handler: str | None = None
    pre_execution_state: JsonValue = None


class JobFailed(BaseEvent):
    """An attempt failed, timed out or was lost with its worker."""

    type: Literal["job.failed"] = "job.failed"
    error: EventError
    run_count: PositiveInt
    attempt: PositiveInt
    will_retry: bool
    pre_execution_state: JsonValue = None


class JobRetryExhausted(BaseEvent):
    """The last attempt that the retry settings allow has failed."""

    type: Literal["job.retryExhausted"] = "job.retryExhausted"
    attempts: PositiveInt
    reason: Literal["max_attempts", "max_duration"]


class JobTerminated(BaseEvent):
    """The instance ended by terminate, cancel, clear, exhausted retries, or as planned.

    `ended` says how: `completed` is a planned end.
    """

    type: Literal["job.terminated"] = "job.terminated"
    reason: str | None = None
    run_count: NonNegativeInt
    discarded_events: NonNegativeInt | None = None
    ended: Literal["completed", "terminated", "failed", "exhausted"] | None = None


class DebounceStarted(BaseEvent):
    """A window received its first event and flushes at `flush_at` at the latest.

    None: the job has no time limit, the window waits until it is full.
    """

    type: Literal["debounce.started"] = "debounce.started"
    flush_at: Timestamp | None = None


class DebounceFlushed(BaseEvent):
    """A window was flushed; `duration_ms` counts from its first event.

    `reason` knows three words; `flush_reason` says exactly what caused the flush.
    """

    type: Literal["debounce.flushed"] = "debounce.flushed"
    event_count: NonNegativeInt
    reason: Literal["timeout", "maxEvents", "manual"]
    duration_ms: NonNegativeInt
    flush_reason: Literal["timeout", "quiet", "maxEvents", "maxBytes", "manual"] | None = None


class TaskScheduled(BaseEvent):
    """A handler set the task's alarm."""

    type: Literal["task.scheduled"] = "task.scheduled"
    scheduled_at: Timestamp
    trigger: Literal["event", "execute", "idle", "error"]


PauseCause: TypeAlias = Literal["user", "exhausted", "job"]


class JobPaused(BaseEvent):
    """The instance starts nothing new.

    `by` says why: a caller asked for it, its retries were exhausted, or its whole job is paused.
    """

    type: Literal["job.paused"] = "job.paused"
    by: PauseCause
    note: str | None = None


class JobResumed(BaseEvent):
    """The instance goes on after a pause.

    `by` is `user` where a caller resumed it. It is `exhausted` where a pause after exhausted
    retries ended by itself, because a run that a caller asked for meanwhile has succeeded, and
    `job` where its whole job had been paused.
    """

    type: Literal["job.resumed"] = "job.resumed"
    by: PauseCause
    note: str | None = None


JobEvent: TypeAlias = Annotated[
    JobStarted
    | JobExecuted
    | JobFailed
    | JobRetryExhausted
    | JobTerminated
    | DebounceStarted
    | DebounceFlushed
    | TaskScheduled
    | JobPaused
    | JobResumed,
    Field(discriminator="type"),
]
"""Any tracking event, told apart by `type`."""

_MODELS: dict[str, type[BaseEvent]] = {
    model.model_fields["type"].default: model for model in get_args(get_args(JobEvent)[0])
}
TIME_FIELDS: dict[str, str] = {"debounce.started": "flushAt", "task.scheduled": "scheduledAt"}
"""Where an event says what comes next, by its type."""

_ADAPTER: TypeAdapter[JobEvent] = TypeAdapter(JobEvent)


def parse_event(data: Mapping[str, object] | str | bytes) -> JobEvent:
    """Read one tracking event, from a JSON object or its text.

    Raises `pydantic.ValidationError` if it is none.
    """
    if isinstance(data, str | bytes):
        return _ADAPTER.validate_json(data)
    return _ADAPTER.validate_python(dict(data))


def check_event(event: Mapping[str, object]) -> None:
    """Raise `ValueError` unless an event has what its type needs, in JSON's own types.

    Who reads it gets its very text, and must not see another value than was checked. One of a
    type that a later version adds passes.
    """
    kind = event.get("type")
    model = _MODELS.get(kind) if isinstance(kind, str) else None
    if model is None:
        return
    names = ("timestamp", TIME_FIELDS.get(str(kind), "timestamp"))
    times = {name: read_moment(event, name) for name in names if event.get(name) is not None}
    model.model_validate({**event, **times}, strict=True, by_alias=True, by_name=False)
