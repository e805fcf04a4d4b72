"""The events that a debounce instance has gathered for one flush."""

from datetime import datetime

from pydantic import BaseModel, Field, PrivateAttr

from durable_jobs.protocol import Detail, EventIn, Folded, FoldRequest, JobRef
from durable_jobs.wire import JSON, size

from .window import Rules, Window

FOLD_EVENTS = 2_000
FOLD_BYTES = 256 * 1024
BATCH_BYTES = 1024 * 1024
"""The most that goes into one command, which may have 2 MB; a state takes its part of it."""

REMEMBERED_BYTES = 128 * 1024
"""Of ids known of one window; more would make it too large for continue-as-new."""

_ID_OVERHEAD = len('"":null,')
_FRAME = len('{"data":,"id":}')


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
    fold_failed: bool = False
    """Folding ahead failed: the next run fails the same way, and says so."""

    _bytes: int = PrivateAttr(default=0)
    _id_bytes: int = PrivateAttr(default=0)

    def model_post_init(self, context: object) -> None:
        """Weigh what came with continue-as-new."""
        self._bytes = sum(size(event) for event in self.events)
        self._id_bytes = sum(map(_id_size, self.ids))

    @property
    def count(self) -> int:
        """Events that wait, judged or not."""
        return len(self.events) + self.folded

    @property
    def fits(self) -> bool:
        """Whether continue-as-new can carry it, beside two states and an outbox."""
        return len(self.events) <= FOLD_EVENTS and self._bytes <= FOLD_BYTES

    @property
    def too_much(self) -> bool:
        """Whether events should be folded ahead, so that what an instance carries stays small."""
        return not self.fits and not self.fold_failed

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
            self._remember(event.id)
        window = self.open(now)
        window.last_at = now
        window.received += 1
        data = size(event.data)
        window.bytes += data
        self._bytes += data + _frame_size(event.id)
        self.events.append(event)
        return True

    def _remember(self, event_id: str) -> None:
        self.ids[event_id] = None
        self._id_bytes += _id_size(event_id)
        while self._id_bytes > REMEMBERED_BYTES:
            oldest = next(iter(self.ids))
            del self.ids[oldest]
            self._id_bytes -= _id_size(oldest)

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

    def _oldest(self) -> int:
        """How many of the oldest events fit into one command; at least one."""
        if len(self.events) <= FOLD_EVENTS and self._bytes <= BATCH_BYTES:
            return len(self.events)
        room = BATCH_BYTES
        for index, event in enumerate(self.events[:FOLD_EVENTS]):
            room -= size(event)
            if room < 0:
                return max(index, 1)
        return min(len(self.events), FOLD_EVENTS)

    def split(self) -> tuple["Gathered", "Gathered"]:
        """What one flush takes, and what has to wait for the next one."""
        count = self._oldest()
        rest = self.events[count:]
        if not rest:
            return self, Gathered()
        later = {event.id: None for event in rest if event.id is not None}
        ids = {event_id: None for event_id in self.ids if event_id not in later}
        taken = self.model_copy(update={"events": self.events[:count], "ids": ids})
        left = Gathered(window=self.window, events=rest, ids=later, announced=self.announced)
        return taken, left

    def fold_request(self, ref: JobRef) -> FoldRequest:
        """Asks to fold the oldest events."""
        return FoldRequest(
            **ref.model_dump(),
            events=self.events[: self._oldest()],
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
        self._bytes = sum(size(event) for event in self.events)

    def before(self, newer: "Gathered", *, keep_window: bool) -> "Gathered":
        """These events, whose flush failed, ahead of those that came meanwhile.

        Without their window they join the newer one, where only its own events count to its
        limits: a window that is full again at once would run again at once.
        """
        kept = newer.window
        if keep_window and self.window is not None:
            kept = self.window.joined(newer.window)
        # Now of one window, of which an id is taken once.
        others = [event for event in newer.events if event.id is None or event.id not in self.ids]
        return Gathered(
            window=kept,
            events=[*self.events, *others],
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


def _frame_size(event_id: str | None) -> int:
    """Bytes of an event as JSON beside its data."""
    return _FRAME + (len("null") if event_id is None else size(event_id))


def _id_size(event_id: str) -> int:
    return len(event_id.encode()) + _ID_OVERHEAD
