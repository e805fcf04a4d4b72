"""A queue of events: those that wait, the ids that are known, and those set aside."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from heapq import heappop, heappush
from typing import Annotated

from pydantic import BaseModel, Field, PlainSerializer, PlainValidator

from durable_jobs.protocol import Begun, Detail, Report
from durable_jobs.values import JSON, size

from .texts import EventText, values_of

LEAST_BURST = 10
FIRST_BURST = 100
MOST_BURST = 1_000
BURST_BYTES = 256 * 1024
"""The most that one activity is given at a time, the first event aside."""

FULL = 10_000
"""With so many waiting, further events wait unread: as they came they cost next to nothing."""

REMEMBERED_IDS = 500
KEPT_FAILED = 100
TRACED = 1_000
"""Behind so many events that wait, further ones are carried without their traceparents."""

KEPT_BYTES = 256 * 1024
"""Of failed events, and of replies, each."""


@dataclass(slots=True)
class Item:
    """One event in a queue."""

    text: EventText
    number: int = 0
    """Its place among all that the queue ever took, from 1."""

    at: datetime | None = None
    """When it came."""

    priority: int = 0
    begun: Begun | None = None
    """The run that it may have begun, which goes on under the same key."""

    @property
    def id(self) -> str | None:
        """The caller's id for it."""
        return self.text.id


def _items_of(values: JSON) -> deque[Item]:
    if isinstance(values, deque):
        return values  # pyright: ignore[reportUnknownVariableType]
    return deque(_item_of(value) for value in values)


def _item_of(value: Detail) -> Item:
    at, begun, priority = value.get("at"), value.get("begun"), value.get("p", 0)
    return Item(
        EventText.of(value["data"], value.get("id"), priority, value.get("traceparent")),
        value.get("n", 0),
        datetime.fromisoformat(at) if at else None,
        priority,
        Begun.model_validate(begun) if begun else None,
    )


def _values_of(items: Iterable[Item]) -> JSON:
    # Plain dicts: thousands of models would take longer than an activation may.
    found = list(items)
    values = values_of(item.text for item in found)
    return [_value_of(item, value) for item, value in zip(found, values, strict=True)]


def _value_of(item: Item, value: Detail) -> Detail:
    value["n"] = item.number
    if item.at is not None:
        value["at"] = item.at.isoformat()
    if item.priority:
        value["p"] = item.priority
    if item.begun is not None:
        value["begun"] = item.begun.model_dump(mode="json")
    return value


def traces_of(items: Iterable[Item]) -> Detail:
    """The traceparents of events as their handler's activity gets them, where there are any."""
    found = [item.text.traceparent for item in items]
    return {"traceparents": found} if any(found) else {}


Items = Annotated[deque[Item], PlainValidator(_items_of), PlainSerializer(_values_of)]


_Entry = tuple[int, int, Item]
"""An event by what it goes by: its priority, highest first, then its number."""


def _heap_of(values: JSON) -> list[_Entry]:
    # Sorted, so a heap already.
    return sorted(_entry(item) for item in _items_of(values))


def _entry(item: Item) -> _Entry:
    return -item.priority, item.number, item


Heap = Annotated[
    list[_Entry],
    PlainValidator(_heap_of),
    PlainSerializer(lambda heap: _values_of(item for _, _, item in sorted(heap))),
]


class Queue(BaseModel):
    """The events of an instance that wait, by priority and then in the order in which they came."""

    heap: Heap = Field(default_factory=list[_Entry])
    taken: int = 0
    """Events that it ever took."""

    seen: dict[str, None] = Field(default_factory=dict)
    """Ids of the last events, handled or waiting, oldest first."""

    burst: int = FIRST_BURST
    """How many events the next activity may be given."""

    def __len__(self) -> int:
        return len(self.heap)

    @property
    def first(self) -> Item | None:
        """The event that goes first."""
        return self.heap[0][2] if self.heap else None

    def oldest(self) -> datetime | None:
        """When the oldest event came that waits."""
        return min((item.at for _, _, item in self.heap if item.at), default=None)

    def put(self, text: EventText, at: datetime) -> bool:
        """Add an event; False where its id was seen before."""
        if text.id is not None and not self._note(text.id):
            return False
        self.again(text, at)
        return True

    def again(self, text: EventText, at: datetime) -> None:
        """Add an event whatever its id: it was handled before and comes again."""
        self.taken += 1
        if len(self.heap) >= TRACED:
            text = text.untraced()
        heappush(self.heap, _entry(Item(text, self.taken, at, text.priority)))

    def _note(self, event_id: str) -> bool:
        if event_id in self.seen:
            return False
        self.seen[event_id] = None
        while len(self.seen) > REMEMBERED_IDS:
            del self.seen[next(iter(self.seen))]
        return True

    def forget(self, event_id: str) -> None:
        """Know nothing more of an event that was refused: it may come again, put right."""
        self.seen.pop(event_id, None)

    def take(self, *, alone: bool = False) -> deque[Item]:
        """Take out the first event, and those behind it that one activity can handle with it.

        One that may have begun goes alone, under the key that it had.
        """
        taken = deque([heappop(self.heap)[2]])
        room = BURST_BYTES
        while not alone and taken[0].begun is None and len(taken) < self.burst:
            item = self.first
            if item is None or item.begun is not None:
                break
            room -= item.text.size
            if room < 0:
                break
            taken.append(heappop(self.heap)[2])
        return taken

    def learn(self, given: int, handled: int) -> None:
        """Give the next activity about as many events as this one could handle."""
        if handled >= self.burst:
            self.burst = min(2 * self.burst, MOST_BURST)
        elif handled < given:
            self.burst = max(2 * handled, LEAST_BURST)

    def put_back(self, items: Iterable[Item]) -> None:
        """Queue events that were taken in the place that they had."""
        for item in items:
            heappush(self.heap, _entry(item))

    def clear(self) -> int:
        """Drop the events that wait; returns how many."""
        count = len(self.heap)
        self.heap.clear()
        return count

    def waits_for(self, event_id: str) -> bool:
        """Whether an event with the id is still to be handled."""
        return event_id in self.seen and any(item.id == event_id for _, _, item in self.heap)

    def behind(self) -> "Queue":
        """The queue of the life that begins with the events that wait."""
        seen = {item.id: None for _, _, item in sorted(self.heap) if item.id is not None}
        return self.model_copy(update={"seen": seen, "burst": FIRST_BURST})


class SetAside(BaseModel):
    """Events that failed for good, with their error, oldest first."""

    entries: list[Detail] = Field(default_factory=list[Detail])
    crowded_out: int = 0
    """Events that had to go for later ones: they never ran to their end."""

    @property
    def count(self) -> int:
        """Events that never ran to their end."""
        return len(self.entries) + self.crowded_out

    def add(self, item: Item, key: str, report: Report, now: datetime) -> None:
        """Keep a failed event with its error; the oldest goes where there are too many."""
        self.entries.append(
            {
                "id": item.id or key,
                "event": item.text.event().model_dump(),
                "error": report.message,
                "attempts": report.attempt,
                "at": now.isoformat(),
                **({"priority": item.priority} if item.priority else {}),
                **({"traceparent": item.text.traceparent} if item.text.traceparent else {}),
            }
        )
        while beyond(self.entries, KEPT_FAILED):
            del self.entries[0]
            self.crowded_out += 1

    def release(self, event_id: str | None) -> list[EventText]:
        """Let go of all events, or of the one of that id."""
        found = [entry for entry in self.entries if event_id in (None, entry["id"])]
        self.entries = [entry for entry in self.entries if entry not in found]
        return [
            EventText.of(
                entry["event"]["data"],
                entry["event"]["id"],
                entry.get("priority", 0),
                entry.get("traceparent"),
            )
            for entry in found
        ]

    def redrive(self, event_id: str | None, queue: "Queue", at: datetime) -> int:
        """Bring all events back into the queue, or the one of that id. Returns how many."""
        found = self.release(event_id)
        for text in found:
            queue.again(text, at)
        return len(found)


def beyond(kept: list[Detail], most: int) -> bool:
    """Whether there are more than `most`, or too large ones, beside a last one."""
    return len(kept) > 1 and (len(kept) > most or size(kept) > KEPT_BYTES)
