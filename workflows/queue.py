"""The events of a task instance: waiting, handled, set aside."""

from datetime import datetime

from pydantic import BaseModel, Field, PrivateAttr

from durable_jobs.protocol import Detail, EventIn, Report
from durable_jobs.wire import JSON, size

BURST_EVENTS = 100
BURST_BYTES = 256 * 1024
"""The most that one activity is given at a time, the first event aside."""

REMEMBERED_IDS = 500
KEPT_REPLIES = 50
KEPT_FAILED = 100
KEPT_BYTES = 256 * 1024
"""Of replies, and of failed events, each."""

CARRIED_BYTES = 1024 * 1024
"""The most that goes into continue-as-new beside a state and an outbox; 2 MB wedge it."""


class Queue(BaseModel):
    """What a task instance carries of its events."""

    events: list[EventIn] = Field(default_factory=list[EventIn])
    seen: dict[str, None] = Field(default_factory=dict)
    """Ids of the last events, handled or waiting, oldest first."""

    asked: dict[str, None] = Field(default_factory=dict)
    """Ids of events whose reply somebody waits for, or will ask for again."""

    replies: dict[str, Detail] = Field(default_factory=dict)
    """The last replies, or errors, by the id of the event that was asked about."""

    failed: list[Detail] = Field(default_factory=list[Detail])
    """Events set aside after their last attempt, with their error, oldest first."""

    crowded_out: int = 0
    """Events set aside that had to go for later ones: they never ran to their end."""

    created_at: datetime | None = None
    event_count: int = 0
    execute_count: int = 0
    scheduled_at: datetime | None = None
    triggered: bool = False
    idle_since: datetime | None = None
    """When it last had something to do; None where it has."""

    idle_due: bool = False
    """Whether `on_idle` has not been called since the last run."""

    _bytes: int = PrivateAttr(default=0)

    def model_post_init(self, context: object) -> None:
        """Weigh the events that came with it."""
        self._bytes = sum(size(event) for event in self.events)

    def put(self, event: EventIn) -> bool:
        """Add an event at the end; False where its id was seen before."""
        if event.id is not None:
            if event.id in self.seen:
                return False
            self.seen[event.id] = None
            while len(self.seen) > REMEMBERED_IDS:
                del self.seen[next(iter(self.seen))]
        self.events.append(event)
        self._bytes += size(event)
        return True

    def take(self) -> list[EventIn]:
        """Take out the first event, and those behind it that one activity can handle with it.

        One that may have begun goes alone, under the key that it had.
        """
        count, room = 1, BURST_BYTES
        if self.events[0].begun is None:
            for event in self.events[1:BURST_EVENTS]:
                room -= size(event)
                if room < 0 or event.begun is not None:
                    break
                count += 1
        taken = self.events[:count]
        del self.events[:count]
        self._bytes -= sum(map(size, taken))
        return taken

    def put_back(self, events: list[EventIn]) -> None:
        """Make events that were taken the first ones again."""
        self.events[:0] = events
        self._bytes += sum(map(size, events))

    def clear(self) -> int:
        """Drop the events that wait; returns how many."""
        count = len(self.events)
        self.events.clear()
        self._bytes = 0
        return count

    def reply(self, event: EventIn, reply: Detail) -> None:
        """Keep the reply to an event that somebody asked about."""
        if event.id is None or event.id not in self.asked:
            return
        del self.asked[event.id]
        self.replies[event.id] = reply
        while len(self.replies) > 1 and _beyond(list(self.replies.values()), KEPT_REPLIES):
            del self.replies[next(iter(self.replies))]

    def forget(self, event_id: str) -> None:
        """Know nothing more of an event that was refused: it may come again, put right."""
        self.seen.pop(event_id, None)
        self.asked.pop(event_id, None)

    def set_aside(self, event: EventIn, report: Report, now: datetime) -> int:
        """Keep a failed event with its error; returns how many of the oldest had to go for it."""
        entry: dict[str, JSON] = {
            "id": event.id or report.run_key,
            "event": event.model_dump(),
            "error": report.message,
            "attempts": report.attempt,
            "at": now.isoformat(),
        }
        self.failed = [*self.failed, entry]
        gone = 0
        while len(self.failed) > 1 and _beyond(self.failed, KEPT_FAILED):
            del self.failed[0]
            gone += 1
        self.crowded_out += gone
        return gone

    def redrive(self, event_id: str | None) -> int:
        """Queue the events set aside again, or the one of that id; returns how many."""
        found = [entry for entry in self.failed if event_id in (None, entry["id"])]
        self.failed = [entry for entry in self.failed if entry not in found]
        for entry in found:
            event = EventIn.model_validate(entry["event"])
            self.events.append(event)
            self._bytes += size(event)
        return len(found)

    def alarm_due(self, now: datetime) -> bool:
        """Whether `execute` is due, by its alarm or a trigger."""
        return self.triggered or (self.scheduled_at is not None and self.scheduled_at <= now)

    @property
    def unfinished(self) -> int:
        """Events that never ran to their end: set aside, or gone for later ones that were."""
        return len(self.failed) + self.crowded_out

    def waits_for(self, event_id: str) -> bool:
        """Whether an event with the id is still to be handled."""
        return any(event.id == event_id for event in self.events)

    def fits(self) -> bool:
        """Whether continue-as-new can carry it."""
        if self._bytes > CARRIED_BYTES:
            return False
        return self._bytes + size(self.failed) + size(self.replies) <= CARRIED_BYTES

    def behind(self) -> "Queue":
        """The queue of the life that begins with the events that wait."""
        seen = {event.id: None for event in self.events if event.id is not None}
        return Queue(events=self.events, seen=seen, asked=self.asked)


def _beyond(kept: list[Detail], most: int) -> bool:
    return len(kept) > most or size(kept) > KEPT_BYTES
