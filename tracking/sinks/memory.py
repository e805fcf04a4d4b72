"""Sinks that send nothing: one keeps the events, one forgets them."""

import json
from collections.abc import Sequence

from durable_jobs.tracking.wire import WireEvent, encode

from .base import Accepted, SendResult


class MemorySink:
    """Keeps the events in `events`, as the JSON objects that would be sent. For tests."""

    def __init__(self) -> None:
        self.events: list[WireEvent] = []

    async def send(self, events: Sequence[WireEvent]) -> SendResult:
        """Append copies of the events."""
        self.events.extend(json.loads(encode(event)) for event in events)
        return Accepted()

    async def close(self) -> None:
        """Nothing to release; the events stay."""


class NoopSink:
    """Takes the events and forgets them: tracking is off."""

    async def send(self, events: Sequence[WireEvent]) -> SendResult:
        """Accept everything."""
        return Accepted()

    async def close(self) -> None:
        """Nothing to release."""
