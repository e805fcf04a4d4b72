"""The events of a task instance: waiting, handled, set aside."""

from datetime import datetime

from pydantic import BaseModel, Field

from durable_jobs.protocol import Detail, EventIn
from durable_jobs.wire import JSON

REMEMBERED_IDS = 500
KEPT_REPLIES = 50
KEPT_FAILED = 100


class Queue(BaseModel):
    """What a task instance carries of its events."""

    events: list[EventIn] = Field(default_factory=list[EventIn])
    seen: dict[str, None] = Field(default_factory=dict)
    """Ids of the last events, handled or waiting, oldest first."""

    replies: dict[str, Detail] = Field(default_factory=dict)
    """Replies, by event id, to an `ask` that was handed back before its event was handled."""

    failed: list[Detail] = Field(default_factory=list[Detail])
    """Events set aside after their last attempt, with their error."""

    created_at: datetime | None = None
    event_count: int = 0
    execute_count: int = 0
    scheduled_at: datetime | None = None
    triggered: bool = False
    idle_due: bool = False
    """Whether `on_idle` has not been called since the last run."""

    def put(self, event: EventIn) -> bool:
        """Add an event at the end; False where its id was seen before."""
        if event.id is not None:
            if event.id in self.seen:
                return False
            self.seen[event.id] = None
            while len(self.seen) > REMEMBERED_IDS:
                del self.seen[next(iter(self.seen))]
        self.events.append(event)
        return True

    def keep_reply(self, event_id: str, reply: Detail) -> None:
        """Remember a reply for the caller that asks again."""
        self.replies[event_id] = reply
        while len(self.replies) > KEPT_REPLIES:
            del self.replies[next(iter(self.replies))]

    def set_aside(self, event: EventIn, error: str, attempts: int, now: datetime) -> None:
        """Keep a failed event with its error; the oldest goes beyond the limit."""
        entry: dict[str, JSON] = {
            "event": event.model_dump(),
            "error": error,
            "attempts": attempts,
            "at": now.isoformat(),
        }
        self.failed = [*self.failed, entry][-KEPT_FAILED:]

    def alarm_due(self, now: datetime) -> bool:
        """Whether `execute` is due, by its alarm or a trigger."""
        return self.triggered or (self.scheduled_at is not None and self.scheduled_at <= now)

    def waits_for(self, event_id: str) -> bool:
        """Whether an event with the id is still to be handled."""
        return any(event.id == event_id for event in self.events)
