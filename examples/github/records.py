"""What the jobs produce, as the store keeps it and the API shows it."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from .digest import Highlight
from .events import Check, ThreadKind


class Record(BaseModel):
    """Base of all records."""

    model_config = ConfigDict(frozen=True)


class DigestRecord(Record):
    """One window of a repository's deliveries, or an organisation's."""

    id: str
    """The run's idempotency key: the same however often the run was tried."""
    key: str
    first_at: datetime
    last_at: datetime
    deliveries: int
    reason: str
    """Why the window closed: `timeout`, `max_events`, `manual`."""
    headline: str
    lines: tuple[str, ...]
    highlights: tuple[Highlight, ...]


class ThreadRecord(Record):
    """An issue or pull request, as its job last saw it."""

    id: str
    repository: str
    number: int
    kind: ThreadKind
    title: str
    url: str | None = None
    state: str = "open"
    """`open`, or why it ended: `closed`, `merged`, `deleted`, `transferred`."""
    comments: int = 0
    follow_ups: int = 0
    opened_at: datetime
    """When this life of the thread began here; a thread that is opened again starts afresh."""
    active_at: datetime
    follow_up_at: datetime | None = None


class ThreadNote(Record):
    """Something a thread's job did, once per run."""

    id: str
    """The run's idempotency key."""
    thread: str
    what: Literal["follow-up", "ended"]
    text: str
    at: datetime


class Link(Record):
    """A title, and where to read on."""

    title: str
    url: str | None = None


class HealthRecord(Record):
    """How a repository stands; also the state of the job that watches it."""

    status: Literal["ok", "stale", "failing"] = "ok"
    since: datetime | None = None
    """Since when the status has been what it is."""
    checked_at: datetime | None = None
    open: int = 0
    failing: tuple[Check, ...] = ()
    stale: tuple[Link, ...] = ()
