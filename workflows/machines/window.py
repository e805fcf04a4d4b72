"""A debounce window: when it flushes, as data from history says."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from durable_jobs.protocol import Detail
from durable_jobs.spans import Span

WIRE_REASONS = {
    "timeout": "timeout",
    "quiet": "timeout",
    "max_events": "maxEvents",
    "max_bytes": "maxEvents",
    "manual": "manual",
}
"""`debounce.flushed` knows three reasons."""

FLUSH_REASONS = {**WIRE_REASONS, "quiet": "quiet", "max_bytes": "maxBytes"}
"""The finer ones, in the extra field `flushReason`."""


class Rules(BaseModel):
    """The flush rules of a job, in seconds and bytes."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, hide_input_in_errors=True)

    flush_after: Span | None = None
    quiet_for: Span | None = None
    max_events: int | None = None
    max_bytes: int | None = None
    dedupe_for: Span | None = None
    leading: bool = False
    most_bytes: int | None = None
    """Of events that one flush may take; the rest is the next window's."""

    @property
    def memory(self) -> timedelta | None:
        """How long ids are remembered over windows; None where they are not."""
        return timedelta(seconds=self.dedupe_for) if self.dedupe_for is not None else None

    @property
    def limits(self) -> str:
        """The counts at which a window flushes, in words."""
        most = self.max_bytes or self.most_bytes
        counts = (self.max_events, "events"), (most, "bytes")
        return " or ".join(f"{count:,} {what}" for count, what in counts if count is not None)

    @staticmethod
    def of(spec: Detail) -> "Rules":
        """The rules in a definition's options."""
        return Rules.model_validate(spec)


@dataclass
class Window:
    """From an instance's first event to its flush."""

    opened_at: datetime
    last_at: datetime
    received: int = 0
    bytes: int = 0

    def flush_at(self, rules: Rules) -> datetime | None:
        """When time alone flushes it; None where only counts do."""
        due = [
            start + timedelta(seconds=seconds)
            for start, seconds in (
                (self.opened_at, rules.flush_after),
                (self.last_at, rules.quiet_for),
            )
            if seconds is not None
        ]
        return min(due, default=None)

    def joined(self, newer: "Window | None") -> "Window":
        """This window and a newer one as one."""
        if newer is None:
            return self
        return Window(
            opened_at=self.opened_at,
            last_at=newer.last_at,
            received=self.received + newer.received,
            bytes=self.bytes + newer.bytes,
        )

    def full(self, rules: Rules) -> str | None:
        """The count rule that holds, if one does."""
        if rules.max_events is not None and self.received >= rules.max_events:
            return "max_events"
        if rules.max_bytes is not None and self.bytes >= rules.max_bytes:
            return "max_bytes"
        if rules.most_bytes is not None and self.bytes >= rules.most_bytes:
            return "max_bytes"
        return None

    def expired(self, rules: Rules, now: datetime) -> str | None:
        """The time rule that held first, if one does."""
        at = self.flush_at(rules)
        if at is None or now < at:
            return None
        return self.next_reason(rules)

    def next_reason(self, rules: Rules) -> str | None:
        """The time rule that holds first."""
        at, after = self.flush_at(rules), rules.flush_after
        if at is None:
            return None
        timed_out = after is not None and self.opened_at + timedelta(seconds=after) <= at
        return "timeout" if timed_out else "quiet"
