"""The event ids that an instance remembers over its windows."""

from collections.abc import Container
from datetime import datetime, timedelta

from pydantic import BaseModel, Field

REMEMBERED_IDS = 5_000
REMEMBERED_CHARACTERS = 128 * 1024
"""More of them would make an instance too large for continue-as-new."""


class Seen(BaseModel):
    """Ids and when they came, oldest first; the oldest go where there are too many."""

    ids: dict[str, datetime] = Field(default_factory=dict[str, datetime])
    characters: int = 0

    def knows(self, event_id: str, since: datetime) -> bool:
        """Whether the id came after `since`."""
        self.forget(since)
        return event_id in self.ids

    def note(self, event_id: str, now: datetime) -> None:
        """Remember an id."""
        if event_id not in self.ids:
            self.characters += len(event_id)
        self.ids[event_id] = now
        while len(self.ids) > REMEMBERED_IDS or self.characters > REMEMBERED_CHARACTERS:
            self._drop_oldest()

    def forget(self, until: datetime) -> None:
        """Drop what came no later than `until`."""
        while self.ids and self.ids[next(iter(self.ids))] <= until:
            self._drop_oldest()

    def only(self, ids: Container[str]) -> "Seen":
        """What is known of these ids."""
        kept = {event_id: at for event_id, at in self.ids.items() if event_id in ids}
        return Seen(ids=kept, characters=sum(map(len, kept)))

    def until(self, span: timedelta) -> datetime | None:
        """When the last of them is `span` old; None where there is none."""
        return max(self.ids.values()) + span if self.ids else None

    def _drop_oldest(self) -> None:
        oldest = next(iter(self.ids))
        del self.ids[oldest]
        self.characters -= len(oldest)
