"""What callers send to an instance, read and checked for its shape."""

from dataclasses import dataclass, field
from datetime import datetime

from durable_jobs.schedule import ScheduleRule

from .texts import EventText


class BadInput(ValueError):
    """What a caller sent has the wrong shape; the message says what is expected."""


@dataclass(slots=True)
class Message:
    """One signal or update."""

    verb: str
    at: datetime
    """When it came."""

    events: list[EventText | BadInput] = field(default_factory=list[EventText | BadInput])
    """What it brings, with what is wrong in the place of an event that is none."""

    text: str | None = None
    """A note, a reason, or an event's id."""

    rule: ScheduleRule | None = None
    wrong: dict[int, str] = field(default_factory=dict[int, str])
    """Of an update: why events do not fit, by their index."""

    each: bool = False
    """Whether the caller wants an answer for each event."""

    judged: bool = False
    """Whether the caller has checked that the events fit the job's event type."""

    fault: str | None = None
    """Why a schedule cannot be used, as a worker found."""


class Refused(Exception):
    """An update that a machine cannot answer; `kind` is the error type that its caller sees."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
