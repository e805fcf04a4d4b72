"""The events that a debounce instance has gathered for one flush."""

from datetime import datetime

from pydantic import BaseModel, Field, PrivateAttr

from durable_jobs.protocol import Detail, EventIn, Folded, FoldRequest, JobRef
from durable_jobs.wire import JSON, size

from .window import Rules, Window

FOLD_EVENTS = 2_000
FOLD_BYTES = 256 * 1024


class Gathered(BaseModel):
    """A window and its events, as they travel with continue-as-new."""

    window: Window | None = None
    events: list[EventIn] = Field(default_factory=list[EventIn])
    base: JSON = None
    """The state that events were folded into ahead."""

    has_base: bool = False
    base_version: int = 1
    folded: int = 0
    """Events in `base`."""

    ids: dict[str, None] = Field(default_factory=dict[str, None])
    """Event ids seen in this window."""

    announced: bool = False
    """Whether `debounce.started` was emitted for the window."""

    flush_asked: bool = False

    _bytes: int = PrivateAttr(default=0)

    def model_post_init(self, context: object) -> None:
        """Count the bytes of events that came with continue-as-new."""
        self._bytes = sum(size(event.data) for event in self.events)

    @property
    def count(self) -> int:
        """Events that wait, judged or not."""
        return len(self.events) + self.folded

    @property
    def too_much(self) -> bool:
        """Whether events should be folded ahead, so that what an instance carries stays small."""
        return len(self.events) > FOLD_EVENTS or self._bytes > FOLD_BYTES

    def open(self, now: datetime) -> Window:
        """The window, opened now where none is."""
        if self.window is None:
            self.window = Window(opened_at=now, last_at=now)
        return self.window

    def add(self, event: EventIn, now: datetime) -> bool:
        """Take an event in; False where its id was seen in this window."""
        if event.id is not None:
            if event.id in self.ids:
                return False
            self.ids[event.id] = None
        window = self.open(now)
        length = size(event.data)
        window.last_at = now
        window.received += 1
        window.bytes += length
        self._bytes += length
        self.events.append(event)
        return True

    def flush_at(self, rules: Rules) -> datetime | None:
        """When time alone flushes the window."""
        return self.window.flush_at(rules) if self.window else None

    def due(self, rules: Rules, *, paused: bool) -> str | None:
        """Why it flushes whatever the time is, if it does."""
        if self.window is None:
            return None
        if self.flush_asked:
            return "manual"
        return None if paused else self.window.full(rules)

    def fold_request(self, ref: JobRef) -> FoldRequest:
        """Asks to fold the oldest events."""
        return FoldRequest(
            **ref.model_dump(),
            events=self.events[:FOLD_EVENTS],
            state=self.base,
            has_state=self.has_base,
            state_version=self.base_version,
        )

    def apply_fold(self, count: int, folded: Folded) -> None:
        """Put the state in place of the `count` oldest events."""
        self.base, self.has_base = folded.state, folded.has_state
        self.base_version = folded.state_version
        self.folded += count - len(folded.rejected)
        self.events = self.events[count:]
        self._bytes = sum(size(event.data) for event in self.events)

    def before(self, newer: "Gathered", *, keep_window: bool) -> "Gathered":
        """These events, whose flush failed, ahead of those that came meanwhile.

        Of these, only time counts on: a window that is full again would run again at once.
        """
        kept = newer.window or (self.window if keep_window else None)
        return Gathered(
            window=kept,
            events=[*self.events, *newer.events],
            base=self.base,
            has_base=self.has_base,
            base_version=self.base_version,
            folded=self.folded,
            ids={**self.ids, **newer.ids},
            announced=kept is not None and (newer.announced or newer.window is None),
            flush_asked=newer.flush_asked,
        )

    def answer(self) -> Detail:
        """From what a worker folds the answer to the query `state`."""
        return {
            "state": self.base,
            "has_state": self.has_base,
            "state_version": self.base_version,
            "events": [event.model_dump() for event in self.events],
        }
