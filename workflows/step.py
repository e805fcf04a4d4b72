"""What a task does at the moment."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from durable_jobs.burst import key_in_burst
from durable_jobs.protocol import Begun, Detail, EventIn, Report

from .runs import Run

Handler = Literal["on_event", "execute", "on_idle", "on_error"]


class Step(BaseModel):
    """One call of a handler, or a burst of them, as it travels with continue-as-new."""

    handler: Handler
    events: list[EventIn] = Field(default_factory=list[EventIn])
    """Of `on_event`: the run's own first, then those that its activity may handle after it."""

    scheduled_at: datetime | None = None
    """When the alarm was due before it."""

    idle_was_due: bool = False
    failed: "Step | None" = None
    """Of `on_error`: the step that failed."""

    report: Report | None = None
    """Of `on_error`: how it failed."""

    @property
    def event(self) -> EventIn | None:
        """The event of the run at hand."""
        return self.events[0] if self.events else None

    @property
    def count(self) -> int:
        """Events that wait for its end."""
        return len(self.events) + (self.failed.count if self.failed else 0)

    def has(self, event_id: str) -> bool:
        """Whether an event with the id is under way."""
        events = [*self.events, *(self.failed.events if self.failed else [])]
        return any(event.id == event_id for event in events)

    def on_error(self, report: Report) -> "Step":
        """The call of `on_error` after this one has failed for good."""
        return Step(handler="on_error", failed=self, report=report)

    def detail(self) -> Detail:
        """What its handler is called with, beside what the entity is."""
        if self.failed is not None and self.report is not None:
            event = self.failed.event
            failure: Detail = {
                "handler": self.failed.handler,
                "message": self.report.text,
                "type": self.report.type,
                "attempts": self.report.attempt,
                "event": event.data if event else None,
            }
            return {"failure": failure}
        if not self.events:
            return {}
        first, *more = [event.data for event in self.events]
        return {"event": first, "more": more} if more else {"event": first}


def unmarked(event: EventIn) -> EventIn:
    """The event without the run that it may have begun."""
    return EventIn(data=event.data, id=event.id)


def behind(events: list[EventIn], index: int, run: Run) -> list[EventIn]:
    """Events of a burst from one on, with the runs that they may have begun in it."""
    rest = events[index:]
    if not run.lost:
        return rest
    return [
        event.model_copy(update={"begun": Begun(key=key_in_burst(run.key, n), attempts=run.lost)})
        for n, event in enumerate(rest, index)
    ]
