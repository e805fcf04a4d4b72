"""The events in hand: which wait, which travel together, which have to wait for which.

Events of one execution form a lane. Requests that share a lane go one after the other.
"""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeAlias

from .breaker import Kind
from .wire import WireEvent

ENVELOPE_BYTES = len(b'{"events":[]}')


@dataclass(slots=True, eq=False)
class Entry:
    """One event in hand. `arrived` is of `time.monotonic`, `at` is when the event happened."""

    id: str
    event: WireEvent
    lane: str
    size: int
    arrived: float
    at: datetime
    sequence: float

    @classmethod
    def of(cls, event: WireEvent, size: int, arrived: float) -> "Entry":
        """An entry for a wire event; what is missing in it is made up."""
        sequence = event.get("sequence")
        return cls(
            id=str(event["eventId"]),
            event=event,
            lane=str(event.get("executionId", "")),
            size=size,
            arrived=arrived,
            at=_moment(event.get("timestamp")),
            sequence=sequence if isinstance(sequence, int) else math.inf,
        )


def _moment(timestamp: object) -> datetime:
    try:
        when = datetime.fromisoformat(str(timestamp))
    except ValueError:
        return datetime.now(UTC)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


@dataclass(slots=True, eq=False)
class Batch:
    """Events that travel in one request, again and again until they are settled."""

    entries: list[Entry]
    failures: int = 0
    first_try: float = math.inf
    last_try: float = -math.inf
    due: float = -math.inf
    under_way: bool = False
    message: str = ""
    kind: Kind = "unavailable"

    @property
    def lanes(self) -> set[str]:
        """The executions that its events belong to."""
        return {entry.lane for entry in self.entries}

    def part(self, entries: list[Entry]) -> "Batch":
        """A batch of some of its events, with the same past."""
        return replace(self, entries=entries, under_way=False)


_Head: TypeAlias = tuple[datetime, int, "_Lane", Entry]


@dataclass(slots=True, eq=False)
class _Lane:
    waiting: deque[Entry] = field(default_factory=deque[Entry])
    batches: list[Batch] = field(default_factory=list[Batch])
    offered: Entry | None = None

    def add(self, entry: Entry) -> None:
        place = len(self.waiting)
        while place and self.waiting[place - 1].sequence > entry.sequence:
            place -= 1
        self.waiting.insert(place, entry)


class Backlog:
    """All events in hand, in lanes and batches."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
        self._heads: list[_Head] = []
        self._ticket = itertools.count()
        self.waiting: int = 0
        self.batches: list[Batch] = []

    def add(self, entry: Entry) -> None:
        """Let an event wait for a batch."""
        lane = self._lanes.setdefault(entry.lane, _Lane())
        lane.add(entry)
        self.waiting += 1
        self._offer(lane)

    def form(self, most: int, most_bytes: int, due: float) -> Batch | None:
        """A batch of the oldest waiting events whose lanes are free, or None."""
        entries: list[Entry] = []
        room = most_bytes - ENVELOPE_BYTES
        while len(entries) < most and (lane := self._oldest()) is not None:
            room -= lane.waiting[0].size + 1
            if entries and room < 0:
                self._offer(lane)
                break
            entries.append(lane.waiting.popleft())
            self._offer(lane)
        if not entries:
            return None
        self.waiting -= len(entries)
        return self._hold(Batch(entries, due=due))

    def replace(self, batch: Batch, parts: Iterable[list[Entry]]) -> list[Batch]:
        """Put smaller batches in the place of one. What is in none of them is done with."""
        smaller = [batch.part(entries) for entries in parts if entries]
        place = self.batches.index(batch)
        self.batches[place : place + 1] = smaller
        for name in batch.lanes:
            lane = self._lanes[name]
            place = lane.batches.index(batch)
            lane.batches[place : place + 1] = [part for part in smaller if name in part.lanes]
            self._offer(lane)
            self._tidy(name)
        return smaller

    def separate(self, batch: Batch) -> None:
        """Halve a batch that may fail for one of its events.

        What has to wait for the first half waits by itself: other executions need not wait with it.
        """
        middle = len(batch.entries) // 2
        first, second = batch.entries[:middle], batch.entries[middle:]
        held = {entry.lane for entry in first}
        for entry in second:
            if entry.lane in held:
                self.add(entry)
        self.replace(batch, [first, [entry for entry in second if entry.lane not in held]])

    def ready(self, now: float) -> list[Batch]:
        """Batches that may be sent again now, the least recently tried first."""
        due = [batch for batch in self._resting() if batch.due <= now]
        return sorted(due, key=lambda batch: batch.last_try)

    def next_due(self) -> float:
        """When the next batch may be sent again; infinity if none waits for its time."""
        return min((batch.due for batch in self._resting()), default=math.inf)

    def discard(self, unwanted: Callable[[Entry], bool]) -> list[Entry]:
        """Take out the events that nobody is sending and that match."""
        gone: list[Entry] = []
        for batch in [batch for batch in self.batches if not batch.under_way]:
            if found := [entry for entry in batch.entries if unwanted(entry)]:
                gone += found
                self.replace(batch, [[e for e in batch.entries if not unwanted(e)]])
        for name, lane in list(self._lanes.items()):
            found = [entry for entry in lane.waiting if unwanted(entry)]
            if found:
                gone += found
                lane.waiting = deque(entry for entry in lane.waiting if not unwanted(entry))
                self.waiting -= len(found)
                self._tidy(name)
        return gone

    def _resting(self) -> Iterator[Batch]:
        for batch in self.batches:
            if not batch.under_way and self._leads(batch):
                yield batch

    def _leads(self, batch: Batch) -> bool:
        return all(self._lanes[name].batches[0] is batch for name in batch.lanes)

    def _hold(self, batch: Batch) -> Batch:
        self.batches.append(batch)
        for name in batch.lanes:
            self._lanes[name].batches.append(batch)
        return batch

    def _offer(self, lane: _Lane) -> None:
        if not lane.waiting or lane.batches or lane.waiting[0] is lane.offered:
            return
        head = lane.offered = lane.waiting[0]
        heapq.heappush(self._heads, (head.at, next(self._ticket), lane, head))

    def _oldest(self) -> _Lane | None:
        while self._heads:
            _, _, lane, head = heapq.heappop(self._heads)
            if lane.offered is not head:
                # An earlier event of this lane came in and was offered instead.
                continue
            lane.offered = None
            if lane.waiting and not lane.batches and lane.waiting[0] is head:
                return lane
            self._offer(lane)
        return None

    def _tidy(self, name: str) -> None:
        lane = self._lanes[name]
        if not lane.waiting and not lane.batches:
            del self._lanes[name]
