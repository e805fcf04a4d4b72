"""What a workflow asks a worker beside runs: of options, of events that came, of due times.

Recorded in history as well: a field added later needs a default.
"""

from datetime import datetime

from pydantic import Field

from .protocol import JobRef, Options, Record
from .schedule import ScheduleRule
from .spans import Moment, Span
from .values import JSON


class Rejected(Record):
    """An event that was not taken, by its index among those given, and why."""

    index: int
    reason: str


class Flushed(Record):
    """What a debounce's flush says of its events, beside the state."""

    rejected: list[Rejected]
    count: int


class Described(Record):
    """The answer of `describe`: whether this worker knows the job, and its options."""

    known: bool
    options: Options | None = None
    message: str | None = None


class JudgeRequest(JobRef):
    """Asks whether events fit the job's event type."""

    events: list[JSON]
    """Each as `EventIn`, unread: there may be thousands."""


class FoldRequest(JudgeRequest):
    """Asks to reduce events into a state ahead of a flush."""

    state: JSON = None
    has_state: bool = False
    state_version: int = 1


class Folded(Record):
    """The state after a fold, and the events that were not taken."""

    state: JSON = None
    has_state: bool = False
    state_version: int = 1
    rejected: list[Rejected] = Field(default_factory=list[Rejected])


class NextDueRequest(Record):
    """Asks for a schedule's first due time after a moment."""

    rule: ScheduleRule
    after: datetime
    """The moment, or the due time of the tick at hand."""

    now: datetime | None = None
    """Asks for the first tick still ahead at this time, and for those missed before it."""

    until: datetime | None = None
    """None due after this time counts as missed."""

    seed: str = ""
    """Tells the jitter of one instance from that of another."""

    judge: bool = False
    """Whether the rule may be wrong: it came from a caller."""


class NextDue(Record):
    """The first due time asked for, and those that were missed."""

    at: Moment
    delay: Span = 0.0
    """Seconds from `at` to its tick's own time."""

    first_missed: Moment | None = None
    """The first and the last due time after the tick at hand whose own time has come.

    Where there is one, the tick at hand is missed.
    """

    last_missed: Moment | None = None
    problem: str | None = None
    """Why a rule that was to be judged cannot be used; the rest says nothing then."""
