"""The books of what the collector took: how much of what, and whether any is missing."""

from collections import Counter, defaultdict
from typing import Any

from durable_jobs.tracking import DebounceFlushed, JobEvent, JobExecuted, parse_event


class Ledger:
    """Every tracking event that the collector took."""

    def __init__(self) -> None:
        self.by_type: Counter[str] = Counter()
        self.by_job: Counter[tuple[str, str]] = Counter()
        """Counts by job name and type."""
        self.flushed: Counter[str] = Counter()
        """Events in flushed windows, by job name."""
        self.handled: Counter[tuple[str, str]] = Counter()
        """Runs that succeeded, by job name and handler."""
        self.invalid: list[str] = []
        self.clashes: list[str] = []
        """Different events that claim one place in their instance's sequence."""
        self._sequences: defaultdict[str, dict[int, JobEvent]] = defaultdict(dict)

    def note(self, data: dict[str, Any]) -> None:
        """Book one event, as the collector gives it: once, however often it was sent."""
        try:
            self._add(parse_event(data))
        except ValueError as error:
            self.invalid.append(str(error))

    def _add(self, event: JobEvent) -> None:
        other = self._sequences[event.execution_id].setdefault(event.sequence, event)
        if other is not event:
            place = f"{event.sequence} of {event.instance_id}"
            self.clashes.append(f"{other.type} and {event.type} are both {place}")
        self.by_type[event.type] += 1
        self.by_job[event.job_name, event.type] += 1
        if isinstance(event, DebounceFlushed):
            self.flushed[event.job_name] += event.event_count
        if isinstance(event, JobExecuted):
            self.handled[event.job_name, event.handler or ""] += 1

    @property
    def executions(self) -> int:
        """The number of instances' lives that reported anything."""
        return len(self._sequences)

    def gaps(self) -> list[str]:
        """Name the executions with a sequence number missing below the highest that came."""
        return [name for name, seen in self._sequences.items() if max(seen) != len(seen)]
