"""What follows from the answer to one request."""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from .batches import Batch, Entry
from .breaker import Health, Kind, Pace
from .ledger import Verdict
from .pending import PendingEvents
from .sinks.base import Accepted, Misconfigured, Refused, RetryLater, SendResult, TooLarge

logger: logging.Logger = logging.getLogger(__name__)

# After so many failures a batch is halved, if others pass, or if it is the only one there is:
# then one event in it may be what fails, and the others need not wait with it.
_SUSPECT_AFTER = 4
_SUSPECT_ALONE_AFTER = 8


class Responses:
    """Settles, splits or puts back a batch, by the sink's answer."""

    def __init__(
        self, pending: PendingEvents, health: Health, pace: Pace, give_up_after: timedelta
    ) -> None:
        self._pending = pending
        self._health = health
        self._pace = pace
        self._give_up_after = give_up_after

    def conclude(self, batch: Batch, result: SendResult, started: float) -> None:
        """Draw the conclusions from the answer to a request that began at `started`."""
        match result:
            case Accepted(rejected=rejected):
                self._health.answered(started, accepted=True)
                self._accept(batch, rejected)
            case TooLarge(message=message) | Refused(message=message):
                self._health.answered(started, accepted=False)
                self._narrow(batch, message)
            case RetryLater(message=message, retry_after=retry_after):
                self._fail(batch, "unavailable", message, started, self._least(retry_after))
            case Misconfigured(message=message):
                self._fail(batch, "misconfigured", message, started, 0.0)
            case _:
                message = f"the sink answered with {type(result).__name__}, not a SendResult"
                self._fail(batch, "unavailable", message, started, 0.0)

    def _least(self, retry_after: timedelta | None) -> float:
        seconds = retry_after.total_seconds() if retry_after else 0.0
        return min(max(seconds, 0.0), self._pace.longest_retry_after)

    def _accept(self, batch: Batch, rejected: Mapping[str, str]) -> None:
        refused = [entry for entry in batch.entries if entry.id in rejected]
        self._pending.backlog.replace(batch, [])
        for entry in refused:
            self._reject([entry], rejected[entry.id])
        self._pending.finish(batch.entries, Verdict("delivered"))

    def _narrow(self, batch: Batch, message: str) -> None:
        if len(batch.entries) > 1:
            middle = len(batch.entries) // 2
            self._pending.backlog.replace(batch, [batch.entries[:middle], batch.entries[middle:]])
            return
        self._pending.backlog.replace(batch, [])
        self._reject(batch.entries, message)

    def _reject(self, entries: list[Entry], reason: str) -> None:
        self._pending.finish(entries, Verdict("rejected", reason))
        logger.warning("tracking event %s was rejected: %s", entries[0].id, reason)

    def _fail(self, batch: Batch, kind: Kind, message: str, started: float, least: float) -> None:
        batch.failures += 1
        batch.kind, batch.message = kind, message
        # Others passed since it was first tried: what fails is this batch, not the collector.
        own_fault = self._health.last_success > batch.first_try
        if own_fault:
            self._put_back(batch, least)
        else:
            self._health.failed(kind, message, started, least)
        self._give_up(batch, message)
        if not own_fault:
            self._give_up_waiting(message)
        self._suspect(batch, own_fault=own_fault)

    def _put_back(self, batch: Batch, least: float) -> None:
        wait = max(self._pace.wait(batch.kind, batch.failures), least)
        batch.due = time.monotonic() + wait
        self._health.hold(least)
        if batch.failures == 1:
            text = "%d tracking events are kept for another try: %s. Next try in %.1f s"
            logger.warning(text, len(batch.entries), batch.message, wait)

    def _suspect(self, batch: Batch, *, own_fault: bool) -> None:
        if batch not in self._pending.backlog.batches or len(batch.entries) < 2:
            return
        alone = len(self._pending.backlog.batches) == 1
        if batch.failures >= (_SUSPECT_AFTER if own_fault else _SUSPECT_ALONE_AFTER) and (
            own_fault or alone
        ):
            batch.failures = _SUSPECT_AFTER - 1
            self._pending.backlog.separate(batch)

    def _give_up(self, batch: Batch, message: str) -> None:
        late = self._late()
        if gone := [entry for entry in batch.entries if late(entry)]:
            kept = [entry for entry in batch.entries if not late(entry)]
            self._pending.backlog.replace(batch, [kept])
            self._drop(gone, message)

    def _give_up_waiting(self, message: str) -> None:
        if gone := self._pending.backlog.discard(self._late()):
            self._drop(gone, message)

    def _late(self) -> Callable[[Entry], bool]:
        """Says which events are to be given up now."""
        oldest = datetime.now(UTC) - self._give_up_after
        stay = min(self._give_up_after.total_seconds(), self._pace.min_retry_time)
        since = time.monotonic() - stay
        return lambda entry: entry.at < oldest and entry.arrived < since

    def _drop(self, entries: list[Entry], message: str) -> None:
        hours = self._give_up_after.total_seconds() / 3600
        reason = f"not delivered within {hours:g} h: {message}"
        self._pending.finish(entries, Verdict("dropped", reason))
        logger.error("%d tracking events were dropped: %s", len(entries), reason)
