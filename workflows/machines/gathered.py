"""The events that a debounce instance has gathered for one flush."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated

from pydantic import PlainSerializer, PlainValidator, TypeAdapter

from durable_jobs.protocol import Detail, JobRef
from durable_jobs.questions import Folded, FoldRequest
from durable_jobs.traceparent import MOST_LINKS, is_sampled
from durable_jobs.values import JSON

from .texts import EventText, texts_of, values_of
from .window import Rules, Window

FOLD_EVENTS = 2_000
FOLD_BYTES = 256 * 1024
BATCH_BYTES = 1024 * 1024
"""The most that goes into one command, which may have 2 MB; a state takes its part of it."""

REMEMBERED_BYTES = 128 * 1024
"""Of ids known of one window; more would make it too large for continue-as-new."""

_ID_OVERHEAD = len('"":null,')


Texts = Annotated[list[EventText], PlainValidator(texts_of), PlainSerializer(values_of)]


@dataclass
class Gathered:
    """A window and its events. No model: its attributes are set with each event."""

    window: Window | None = None
    events: Texts = field(default_factory=list[EventText])
    base: JSON = None
    """The state that events were folded into ahead."""

    has_base: bool = False
    base_version: int = 1
    folded: int = 0
    """Events in `base`."""

    folded_traceparents: list[str] = field(default_factory=list[str])
    """Of events in `base`."""

    ids: dict[str, None] = field(default_factory=dict[str, None])
    """Event ids seen in this window."""

    announced: bool = False
    """Whether `debounce.started` was emitted for the window."""

    flush_asked: bool = False
    leads: bool = False
    """Whether its first event came to a quiet instance, where a leading one runs at once."""

    second_at: datetime | None = None
    """When the one after that came."""

    due_as: str | None = None
    """Why the window was due of which this is the rest."""

    fold_failed: bool = False
    """Folding ahead failed: the next run fails the same way, and says so."""

    asked: int = 0
    """Of its oldest events so many are being folded."""

    ahead: "Gathered | None" = None
    """What a run that failed was to flush: it goes first, alone, as these were folded meanwhile."""

    def __post_init__(self) -> None:
        self._bytes = _length(self.events)
        self._id_bytes = sum(map(_id_size, self.ids))
        self._traceparents = {*self.folded_traceparents, *_traceparents(self.events)}

    @staticmethod
    def of(carried: JSON) -> "Gathered":
        """What came with continue-as-new."""
        return _gathered.validate_python(carried)

    def carry(self) -> JSON:
        """As it travels with continue-as-new."""
        return _gathered.dump_python(self, mode="json")

    @property
    def count(self) -> int:
        """Events that wait, judged or not."""
        return len(self.events) + self.folded + (self.ahead.count if self.ahead else 0)

    @property
    def fits(self) -> bool:
        """Whether continue-as-new can carry it, beside two states and an outbox."""
        own = len(self.events) <= FOLD_EVENTS and self._bytes <= FOLD_BYTES
        return own and (self.ahead is None or self.ahead.fits)

    @property
    def too_much(self) -> bool:
        """Whether events should be folded ahead, so that what an instance carries stays small."""
        return not self.fits and not self.to_fold.fold_failed

    @property
    def to_fold(self) -> "Gathered":
        """Where there is too much."""
        return self.ahead if self.ahead is not None and not self.ahead.fits else self

    def open(self, now: datetime) -> Window:
        """The window, opened now where none is."""
        if self.window is None:
            self.window = Window(opened_at=now, last_at=now)
        return self.window

    def add(self, event: EventText, now: datetime, *, quiet: bool = False) -> bool:
        """Take an event in; False where its id was seen in this window.

        `quiet` says whether a window that it opens leads.
        """
        if event.id is not None:
            if event.id in self.ids:
                return False
            self._remember(event.id)
        if self.window is None:
            self.leads = quiet
        elif self.leads:
            self.second_at = self.second_at or now
        window = self.open(now)
        window.last_at = now
        window.received += 1
        window.bytes += event.size
        if event.traceparent is not None:
            event = self._noted(event, event.traceparent)
        self._bytes += len(event.json)
        self.events.append(event)
        return True

    def _noted(self, event: EventText, traceparent: str) -> EventText:
        """The event, without its traceparent where the run will not link it.

        The first ones are linked, each once. One whose trace is not kept says that of a window
        alone: there is nothing to link.
        """
        known = self._traceparents
        room = len(known) < MOST_LINKS if is_sampled(traceparent) else not known
        if not room or traceparent in known:
            return event.untraced()
        known.add(traceparent)
        return event

    def _remember(self, event_id: str) -> None:
        self.ids[event_id] = None
        self._id_bytes += _id_size(event_id)
        while self._id_bytes > REMEMBERED_BYTES:
            oldest = next(iter(self.ids))
            del self.ids[oldest]
            self._id_bytes -= _id_size(oldest)

    def forget_others(self) -> None:
        """Know no id but those of its own events, where none of them was folded ahead."""
        if self.folded or self.ahead is not None:
            return
        self.ids = {event.id: None for event in self.events if event.id in self.ids}
        self._id_bytes = sum(map(_id_size, self.ids))

    def flush_at(self, rules: Rules) -> datetime | None:
        """When time alone flushes the window, without an event that leads it."""
        window = self.window
        if window is not None and rules.leading and self.leads and self.second_at is not None:
            window = replace(window, opened_at=self.second_at)
        return window.flush_at(rules) if window else None

    def next_reason(self, rules: Rules) -> str | None:
        """Why it will flush at that time."""
        return self.window.next_reason(rules) if self.window else None

    @property
    def told(self) -> str:
        """How many events of what size, in words."""
        plural = "" if self.count == 1 else "s"
        return f"{self.count:,} event{plural} ({self.bytes:,} bytes)"

    @property
    def bytes(self) -> int:
        """What its events have as JSON, those folded ahead included."""
        return self.window.bytes if self.window else 0

    def due(self, rules: Rules, *, paused: bool) -> str | None:
        """Why it flushes whatever the time is, if it does."""
        if self.window is None:
            return None
        if self.flush_asked or self.due_as == "manual":
            return "manual"
        return None if paused else self.due_as or self.window.full(rules)

    def take(self, reason: str, rules: Rules) -> tuple["Gathered", "Gathered"]:
        """What one flush takes, and what has to wait for the next one."""
        if reason == "leading":
            return self._take_first()
        if self.ahead is not None:
            left = replace(self, ahead=None, due_as=reason)
            return self.ahead, left
        most = rules.most_bytes
        count = self._oldest() if most is None else self._within(most)
        if count == len(self.events):
            return self, Gathered()
        taken, left = self._cut(count)
        left.window = replace(
            self._known_window(),
            received=len(left.events),
            bytes=sum(event.size for event in left.events),
        )
        left.due_as = None if reason == "max_bytes" else reason
        return taken, left

    def _take_first(self) -> tuple["Gathered", "Gathered"]:
        first, window = self.events[0], self._known_window()
        alone = Window(
            opened_at=window.opened_at,
            last_at=window.opened_at,
            received=1,
            bytes=first.size,
        )
        ids = {} if first.id is None else {first.id: None}
        taken = Gathered(window=alone, events=[first], ids=ids)
        left = Gathered(ids=self.ids, events=self.events[1:])
        if self.second_at is not None:
            left.flush_asked = self.flush_asked
            left.window = Window(
                opened_at=self.second_at,
                last_at=window.last_at,
                received=window.received - 1,
                bytes=window.bytes - alone.bytes,
            )
        return taken, left

    def _within(self, most: int) -> int:
        """How many of the oldest events have room; at least one where none was folded ahead."""
        window = self._known_window()
        if window.bytes <= most and self._bytes <= BATCH_BYTES:
            return len(self.events)
        folded = max(window.bytes - sum(event.size for event in self.events), 0)
        room, command = most - folded, BATCH_BYTES
        for index, event in enumerate(self.events):
            room -= event.size
            command -= len(event.json)
            if room < 0 or command < 0:
                return index if self.has_base else max(index, 1)
        return len(self.events)

    def _known_window(self) -> Window:
        if self.window is None:
            raise RuntimeError("no window is open")
        return self.window

    def _oldest(self) -> int:
        """How many of the oldest events fit into one command; at least one."""
        if len(self.events) <= FOLD_EVENTS and self._bytes <= BATCH_BYTES:
            return len(self.events)
        # A fold leaves a state in history: of very many events it takes more at a time.
        most = max(FOLD_EVENTS, len(self.events) // 10)
        room = BATCH_BYTES
        for index, event in enumerate(self.events[:most]):
            room -= len(event.json)
            if room < 0:
                return max(index, 1)
        return min(len(self.events), most)

    def _cut(self, count: int) -> tuple["Gathered", "Gathered"]:
        rest = self.events[count:]
        later = {event.id: None for event in rest if event.id is not None}
        ids = {event_id: None for event_id in self.ids if event_id not in later}
        taken = replace(self, events=self.events[:count], ids=ids)
        return taken, Gathered(events=rest, ids=later)

    def fold_request(self, ref: JobRef) -> FoldRequest:
        """Asks to fold the oldest events."""
        self.asked = self._oldest()
        return FoldRequest(
            **ref.model_dump(),
            events=values_of(self.events[: self.asked]),
            state=self.base,
            has_state=self.has_base,
            state_version=self.base_version,
        )

    def apply_fold(self, count: int, folded: Folded) -> None:
        """Put the state in place of the `count` oldest events."""
        self.base, self.has_base = folded.state, folded.has_state
        self.base_version = folded.state_version
        self.folded += count - len(folded.rejected)
        known = [*self.folded_traceparents, *_traceparents(self.events[:count])]
        self.folded_traceparents = known[:MOST_LINKS]
        self._bytes -= _length(self.events[:count])
        self.events = self.events[count:]

    def known_to(self, newer: "Gathered") -> list[EventText]:
        """The newer events that are none once they share a window, of which an id is taken once."""
        return [event for event in newer.events if event.id is not None and event.id in self.ids]

    def before(self, newer: "Gathered", *, keep_window: bool) -> "Gathered":
        """These events, whose flush failed, ahead of those that came meanwhile.

        Without their window they join the newer one, where only its own events count to its
        limits: a window that is full again at once would run again at once.
        """
        kept = newer.window
        if keep_window and self.window is not None:
            kept = self.window.joined(newer.window)
        known = {event.id for event in self.known_to(newer)}
        later = [event for event in newer.events if event.id not in known]
        if newer.folded:
            apart = replace(self, due_as=None)
            base, events = newer, later
        else:
            apart, base, events = None, self, [*self.events, *later]
        return Gathered(
            window=kept,
            ahead=apart,
            events=events,
            base=base.base,
            has_base=base.has_base,
            base_version=base.base_version,
            folded=base.folded,
            folded_traceparents=base.folded_traceparents,
            ids={**self.ids, **newer.ids},
            announced=newer.announced or (newer.window is None and keep_window and self.announced),
            flush_asked=newer.flush_asked,
        )

    def answer(self) -> Detail:
        """From what a worker folds the answer to the query `state`."""
        return {
            "state": self.base,
            "has_state": self.has_base,
            "state_version": self.base_version,
            "events": values_of(self.events),
        }


_gathered = TypeAdapter(Gathered)


def _length(events: list[EventText]) -> int:
    return sum(len(event.json) for event in events)


def _traceparents(events: list[EventText]) -> list[str]:
    return [event.traceparent for event in events if event.traceparent is not None]


def _id_size(event_id: str) -> int:
    return len(event_id.encode()) + _ID_OVERHEAD
