"""Events as the JSON text that came.

A hot key's instance holds thousands of them. As text they cost one small object each: not a tree of
them that the garbage collector walks again and again.
"""

from collections.abc import Iterable
from typing import NamedTuple

import pydantic_core

from durable_jobs.protocol import EventIn
from durable_jobs.values import JSON, dumps


class EventText(NamedTuple):
    """One event, with the caller's id for it."""

    json: bytes
    """`{"data": …}` or `{"data": …, "id": …}`, compact."""

    size: int
    """Bytes of the data alone."""

    id: str | None = None
    priority: int = 0
    """Of a worker pool's event: a higher one goes first."""

    @staticmethod
    def of(data: JSON, event_id: str | None = None, priority: int = 0) -> "EventText":
        """The text of an event."""
        if event_id is None:
            json = dumps({"data": data})
            return EventText(json, len(json) - len('{"data":}'), None, priority)
        json = dumps({"data": data, "id": event_id})
        length = len(json) - len('{"data":,"id":}') - len(dumps(event_id))
        return EventText(json, length, event_id, priority)

    def event(self) -> EventIn:
        """The event itself."""
        return EventIn.model_validate_json(self.json)


def values_of(texts: Iterable[EventText]) -> list[JSON]:
    """The events as JSON values."""
    return pydantic_core.from_json(b"[" + b",".join(text.json for text in texts) + b"]")


def texts_of(values: Iterable[JSON]) -> list[EventText]:
    """The events out of such values, of our own making."""
    return [EventText.of(value["data"], value.get("id")) for value in values]
