"""All that a courier has in hand, and all that it knows of what it had."""

import logging
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from .batches import ENVELOPE_BYTES, Backlog, Entry
from .breaker import Pace
from .ledger import Counters, Ledger, Verdict
from .wire import WireEvent, encode

logger: logging.Logger = logging.getLogger(__name__)


class PendingEvents:
    """Events in hand, the verdicts on earlier ones, and the counts of both. Bounded."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._entries: dict[str, Entry] = {}
        self._bytes = 0
        self.backlog: Backlog = Backlog()
        self.ledger: Ledger = Ledger(pace.max_verdicts)
        self.counters: Counters = Counters()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, event_id: str) -> bool:
        return event_id in self._entries

    def take(self, event: WireEvent) -> bool:
        """Take one event in hand, unless it is known already. False: there is no room."""
        event_id = event.get("eventId")
        if not isinstance(event_id, str):
            logger.error("a tracking event without an eventId was ignored")
            return True
        if event_id in self._entries or event_id in self.ledger:
            return True
        try:
            size = len(encode(event))
        except ValueError as error:
            return self._refuse(event_id, f"it is not JSON ({type(error).__name__})")
        if size + ENVELOPE_BYTES >= self._pace.max_batch_bytes:
            return self._refuse(event_id, f"{size} bytes are too many for a request")
        return self._keep(event_id, event, size)

    def finish(self, entries: Iterable[Entry], verdict: Verdict) -> None:
        """Write down what became of events; they are no longer in hand."""
        for entry in entries:
            if self._entries.pop(entry.id, None) is not None:
                self._bytes -= entry.size
                self._write(entry.id, verdict)

    def oldest(self) -> timedelta:
        """How long ago the oldest event in hand happened; 0 without any."""
        first = min((entry.at for entry in self._entries.values()), default=None)
        age = datetime.now(UTC) - first if first is not None else timedelta()
        return max(age, timedelta())

    def clear(self) -> None:
        """Let go of everything in hand, and of everybody who waits for it."""
        self._entries.clear()
        self._bytes = 0
        self.backlog: Backlog = Backlog()
        self.ledger.release()

    def _keep(self, event_id: str, event: WireEvent, size: int) -> bool:
        if len(self._entries) >= self._pace.max_pending:
            return False
        if self._entries and self._bytes + size > self._pace.max_pending_bytes:
            return False
        entry = Entry.of(event, size, time.monotonic())
        self._entries[event_id] = entry
        self._bytes += size
        self.backlog.add(entry)
        self.counters.submitted += 1
        return True

    def _refuse(self, event_id: str, reason: str) -> bool:
        self._write(event_id, Verdict("rejected", reason))
        logger.warning("tracking event %s cannot be sent: %s", event_id, reason)
        return True

    def _write(self, event_id: str, verdict: Verdict) -> None:
        self.ledger.write(event_id, verdict)
        self.counters.count(verdict)
