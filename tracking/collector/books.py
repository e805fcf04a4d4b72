"""What is kept of an instance and of an execution, and how an event changes it."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, cast

from durable_jobs.wire import as_unicode

from ..events import TIME_FIELDS
from ..moments import milliseconds, read_moment
from .endings import gave_up, planned
from .intake import Accepted
from .sequences import Places

MINUTE, HOUR = 60_000, 3_600_000
RETRIED = "retried"
"""Counted beside the types: failures that are tried again."""

_STARTED = {"continuous": "scheduled"}
# What ends a pause, or begins one.
_PAUSES = frozenset({"job.paused", "job.resumed", "job.started", "job.terminated"})


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
    base: str = ""
    """Its state but for a pause."""

    paused_by: str | None = None
    pause_note: str | None = None
    pause_sequence: int | None = None
    """Which event of its execution told last whether it is paused."""

    def note(self, event: Accepted) -> None:
        """Count the event; it changes the state unless a later one did already."""
        self.events += 1
        self.executed += event.type == "job.executed"
        self.failed += event.type == "job.failed"
        self.retried += will_retry(event)
        self.first_at = min(self.first_at, event.at)
        latest = self.events == 1 or self._precedes(event)
        self._note_pause(event, latest=latest)
        if latest:
            self.last_at = max(self.last_at, event.at)
            self.last_type = event.type
            self.execution, self.sequence = event.execution, event.sequence
            self._follow(event)
        # A run under way goes on, paused or not; so does what waits to be tried again, unless the
        # whole job is paused.
        goes_on = self.base == "retrying" and self.paused_by != "job"
        self.state = "paused" if self.paused_by and not goes_on else self.base

    def _note_pause(self, event: Accepted, *, latest: bool) -> None:
        """A pause holds until its end is told, whatever else is, and even if it is told late."""
        if event.execution != self.execution:
            if not latest:
                return
            self._pause(None, None)
        ends = event.type == "debounce.flushed" and self.paused_by == "exhausted"
        if event.type not in _PAUSES and not ends:
            return
        if not latest and (event.sequence or 0) <= (self.pause_sequence or 0):
            return
        self._pause(event if event.type == "job.paused" else None, event.sequence)

    def _pause(self, event: Accepted | None, sequence: int | None) -> None:
        self.pause_sequence = sequence
        self.paused_by = self.pause_note = None
        if event is not None:
            note = event.data.get("note")
            by = event.data.get("by")
            self.paused_by = by if by in ("exhausted", "job") else "user"
            self.pause_note = _text(note) if note is not None else None

    def _precedes(self, event: Accepted) -> bool:
        same = event.execution is not None and event.execution == self.execution
        if same and event.sequence is not None and self.sequence is not None:
            return event.sequence > self.sequence
        return event.at >= self.last_at

    def _follow(self, event: Accepted) -> None:
        data = event.data
        match event.type:
            case "job.started":
                self.base, self.next_at = _STARTED.get(self.job_type, "running"), None
            case "job.executed":
                self._executed(data, event.at)
            case "job.failed":
                self.base = "retrying" if will_retry(event) else self._goes_on(event.at)
                self.last_error = _message(data)
            case "job.retryExhausted":
                self.base = self._goes_on(event.at)
            case "debounce.started" | "task.scheduled":
                self.base = "debouncing" if event.type == "debounce.started" else "scheduled"
                name = TIME_FIELDS[event.type]
                self.next_at = milliseconds(read_moment(data, name)) if data.get(name) else None
            case "job.terminated":
                self.base, self.next_at = _ending(self.job_type, event), None
            case "debounce.flushed":
                self.base, self.next_at, self.last_error = "completed", None, None
            case _:
                # That it lives is all that is known.
                self.base = self.base or "running"

    def _executed(self, data: dict[str, Any], at: int) -> None:
        self.last_error = None
        if self.job_type == "debounce":
            self.base, self.next_at = "completed", None
            return
        if self.job_type == "task" and not self._alarm_waits(data.get("handler"), at):
            self.next_at = None
        self.base = self._goes_on(at)

    def _goes_on(self, at: int) -> str:
        """What it does after a run that ended then, if nothing else is told."""
        match self.job_type:
            case "continuous":
                return "scheduled"
            case "debounce":
                return "debouncing"
            case _:
                return "idle" if self.next_at is None or self.next_at <= at else "scheduled"

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
        elif not self._fill(sequence, places):
            return False
        # It may have been erased before, and goes on.
        self.instance = event.instance
        self.last_at = max(self.last_at, event.at)
        places.take(self.execution, sequence)
        return True

    def _fill(self, sequence: int, places: Places) -> bool:
        """Count a place that was not taken; False: it was, and is forgotten."""
        if sequence <= self.forgotten:
            hole = places.fill(self.execution, sequence)
            # One that was acknowledged is counted as if it had come.
            self.count += hole == "missing"
            return hole is not None
        self.max_sequence = max(self.max_sequence, sequence)
        self.count = min(self.count + 1, self.max_sequence)
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
    """The state of an instance that ended, as it says itself.

    Of older senders only the reason tells. After exhausted retries an instance may also go on or
    pause, and then be ended by somebody.
    """
    ended, reason = event.data.get("ended"), event.data.get("reason")
    if ended in ("completed", "terminated", "failed"):
        return ended
    if ended == "exhausted":
        return "failed"
    if not isinstance(reason, str):
        return "terminated"
    if gave_up(reason):
        return "failed"
    done = planned(job_type, reason, event.data.get("runCount"), event.at)
    return "completed" if done else "terminated"


def _message(data: dict[str, Any]) -> str:
    error: Any = data.get("error")
    message = cast("dict[str, Any]", error).get("message") if isinstance(error, dict) else error
    return _text(message)


def _text(value: object) -> str:
    # An escaped lone surrogate is JSON, but no text that SQLite takes.
    return as_unicode(str(value)[:500])
