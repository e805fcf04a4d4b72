"""Events as the JSON text that came.

A hot key's instance holds thousands of them. As text they cost one small object each: not a tree of
them that the garbage collector walks again and again.
"""

from collections.abc import Iterable
from typing import NamedTuple

import pydantic_core

from durable_jobs.protocol import EventIn
from durable_jobs.traceparent import read_traceparent
from durable_jobs.values import JSON, dumps


class EventText(NamedTuple):
    """One event, with the caller's id for it."""

    json: bytes
    """`{"data": …}`, and `"id"` and `"traceparent"` behind it where there are any, compact."""

    size: int
    """Bytes of the data alone."""

    id: str | None = None
    priority: int = 0
    """Of a worker pool's event: a higher one goes first."""

    traceparent: str | None = None

    @staticmethod
    def of(
        data: JSON, event_id: str | None = None, priority: int = 0, traceparent: JSON = None
    ) -> "EventText":
        """The text of an event. What is no traceparent is left out."""
        if event_id is None:
            json = dumps({"data": data})
            text = EventText(json, len(json) - len('{"data":}'), None, priority)
        else:
            json = dumps({"data": data, "id": event_id})
            length = len(json) - len('{"data":,"id":}') - len(dumps(event_id))
            text = EventText(json, length, event_id, priority)
        return text if traceparent is None else text._traced(read_traceparent(traceparent))

    def _traced(self, traceparent: str | None) -> "EventText":
        if traceparent is None:
            return self
        json = self.json[:-1] + _behind(traceparent) + b"}"
        return self._replace(json=json, traceparent=traceparent)

    def named(self, event_id: str) -> "EventText":
        """The same event under an id."""
        return EventText.of(self.event().data, event_id, self.priority, self.traceparent)

    def untraced(self) -> "EventText":
        """The same event without its traceparent."""
        if self.traceparent is None:
            return self
        json = self.json.removesuffix(_behind(self.traceparent) + b"}") + b"}"
        return self._replace(json=json, traceparent=None)

    def event(self) -> EventIn:
        """The event itself."""
        return EventIn.model_validate_json(self.json)


def _behind(traceparent: str) -> bytes:
    return b',"traceparent":"%s"' % traceparent.encode()


def values_of(texts: Iterable[EventText]) -> list[JSON]:
    """The events as JSON values."""
    return pydantic_core.from_json(b"[" + b",".join(text.json for text in texts) + b"]")


def texts_of(values: Iterable[JSON]) -> list[EventText]:
    """The events out of such values, of our own making."""
    return [
        EventText.of(value["data"], value.get("id"), 0, value.get("traceparent"))
        for value in values
    ]
