"""What is kept of an instance and of an execution, and how an event changes it."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, cast

from durable_jobs.wire import as_unicode

from ..endings import gave_up, planned
from ..events import TIME_FIELDS
from ..moments import milliseconds, read_moment
from .intake import Accepted
from .sequences import Places

MINUTE, HOUR = 60_000, 3_600_000
RETRIED = "retried"
"""Counted beside the types: failures that are tried again."""

_STARTED = {"continuous": "scheduled"}


@dataclass(slots=True)
class Instance:
    """A row of `instances`; its fields are the columns, in their order."""

    instance: str
    job_type: str
    job: str
    key: str
    env: str
    service: str
    state: str
    first_at: int
    last_at: int
    last_type: str
    events: int = 0
    executed: int = 0
    failed: int = 0
    retried: int = 0
    last_error: str | None = None
    next_at: int | None = None
    execution: str | None = None
    sequence: int | None = None

    def note(self, event: Accepted) -> None:
        """Count the event; it changes the state unless a later one did already."""
        self.events += 1
        self.executed += event.type == "job.executed"
        self.failed += event.type == "job.failed"
        self.retried += will_retry(event)
        self.first_at = min(self.first_at, event.at)
        if self.events > 1 and not self._precedes(event):
            return
        self.last_at = max(self.last_at, event.at)
        self.last_type = event.type
        self.execution, self.sequence = event.execution, event.sequence
        self._follow(event)

    def _precedes(self, event: Accepted) -> bool:
        same = event.execution is not None and event.execution == self.execution
        if same and event.sequence is not None and self.sequence is not None:
            return event.sequence > self.sequence
        return event.at >= self.last_at

    def _follow(self, event: Accepted) -> None:
        data = event.data
        match event.type:
            case "job.started":
                self.state, self.next_at = _STARTED.get(self.job_type, "running"), None
            case "job.executed":
                self._executed(data, event.at)
            case "job.failed":
                self.state = "retrying" if will_retry(event) else "failed"
                self.last_error = _message(data)
            case "job.retryExhausted":
                self.state = "failed"
            case "debounce.started" | "task.scheduled":
                self.state = "debouncing" if event.type == "debounce.started" else "scheduled"
                name = TIME_FIELDS[event.type]
                self.next_at = milliseconds(read_moment(data, name)) if data.get(name) else None
            case "job.terminated":
                self.state, self.next_at = _ending(self.job_type, event), None
            case "debounce.flushed":
                self.state, self.next_at = "completed", None
            case _:
                self.state = self.state or "unknown"

    def _executed(self, data: dict[str, Any], at: int) -> None:
        match self.job_type:
            case "continuous":
                self.state = "scheduled"
            case "task":
                if not self._alarm_waits(data.get("handler"), at):
                    self.next_at = None
                self.state = "idle" if self.next_at is None else "scheduled"
            case _:
                self.state, self.next_at = "completed", None

    def _alarm_waits(self, handler: object, at: int) -> bool:
        """Whether the alarm outlives a run that ended then. No event tells that it was cancelled.

        A `trigger` leaves it be; a run at about its time is its own, whatever clocks say.
        """
        if self.next_at is None or handler == "on_idle":
            # That one is called only where none is set.
            return False
        return self.next_at > (at + MINUTE if handler == "execute" else at)


@dataclass(slots=True)
class Execution:
    """A row of `executions`: how many of the sequences up to the highest one came."""

    execution: str
    instance: str
    last_at: int
    max_sequence: int = 0
    count: int = 0
    forgotten: int = 0
    clashes: int = 0

    def note(self, event: Accepted, places: Places) -> bool:
        """Count the event's place in the sequence, once; False: it was kept once, and forgotten."""
        sequence = event.sequence or 0
        if sequence <= self.max_sequence and places.taken(self.execution, sequence):
            self.clashes += 1
        elif sequence <= self.forgotten and not places.fill(self.execution, sequence):
            return False
        else:
            self.max_sequence = max(self.max_sequence, sequence)
            self.count = min(self.count + 1, self.max_sequence)
        self.last_at = max(self.last_at, event.at)
        places.take(self.execution, sequence)
        return True


INSTANCE_COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Instance))
EXECUTION_COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Execution))
instance_row: Callable[[Instance], tuple[Any, ...]] = attrgetter(*INSTANCE_COLUMNS)
execution_row: Callable[[Execution], tuple[Any, ...]] = attrgetter(*EXECUTION_COLUMNS)


def new_instance(event: Accepted) -> Instance:
    """The row of an instance nobody heard of before this event."""
    return Instance(
        instance=event.instance,
        job_type=event.job_type,
        job=event.job,
        key=event.key,
        env=event.env,
        service=event.service,
        state="",
        first_at=event.at,
        last_at=event.at,
        last_type=event.type,
    )


def will_retry(event: Accepted) -> bool:
    """Whether the event is a failure that is tried again."""
    return event.type == "job.failed" and event.data.get("willRetry") is True


def _ending(job_type: str, event: Accepted) -> str:
    """The state of an instance that ended: only the reason tells who ended it.

    After exhausted retries an instance may also go on or pause, and then be ended by somebody.
    """
    reason = event.data.get("reason")
    if not isinstance(reason, str):
        return "terminated"
    if gave_up(reason):
        return "exhausted"
    done = planned(job_type, reason, event.data.get("runCount"), event.at)
    return "completed" if done else "terminated"


def _message(data: dict[str, Any]) -> str:
    error: Any = data.get("error")
    message = cast("dict[str, Any]", error).get("message") if isinstance(error, dict) else error
    # An escaped lone surrogate is JSON, but no text that SQLite takes.
    return as_unicode(str(message)[:500])
