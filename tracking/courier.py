"""The courier: one per worker process, through which all its tracking events leave.

Deliveries that happen at about the same time share requests. What could not be sent yet is only
kept in memory: the outboxes of the instances keep it too and submit it again.
"""

import asyncio
import dataclasses
import logging
import math
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta

from .batches import Batch
from .breaker import Health, Pace, Trouble
from .config import Tracking
from .ledger import Counters, Verdict
from .metrics import Sample, Timings
from .pending import PendingEvents
from .responses import Responses
from .sinks.base import RetryLater, SendResult, batch_size_of
from .wire import WireEvent

__all__ = ["Counters", "Courier", "Pace", "Trouble", "Verdict"]

logger: logging.Logger = logging.getLogger(__name__)


class Courier:
    """Sends tracking events and tells what became of them.

    Belongs to one event loop at a time, that of its first `submit` or `settle`; not thread-safe.
    It does not redact: what is submitted is what is sent.
    """

    def __init__(self, tracking: Tracking, *, pace: Pace | None = None) -> None:
        self._sink = tracking.sink
        self._batch_size = batch_size_of(tracking.sink)
        self._pace = pace or Pace()
        self._pending = PendingEvents(self._pace)
        self._health = Health(self._pace, self._pending.ledger.release)
        self._responses = Responses(self._pending, self._health, self._pace, tracking.give_up_after)
        self._sending: set[asyncio.Task[None]] = set()
        self._started: dict[Batch, float] = {}
        self._pump: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._last_request = -math.inf
        self._fresh_turn = False
        self._closing = False
        self._timings = Timings()

    @property
    def counters(self) -> Counters:
        """What was done so far."""
        return self._pending.counters

    def sample(self) -> Sample:
        """What its metrics are made of."""
        return Sample(
            dataclasses.asdict(self.counters),
            pending=len(self._pending),
            oldest=self._pending.oldest(),
            timings=self._timings,
        )

    @property
    def trouble(self) -> Trouble | None:
        """The last problem that is not over: the collector's, or one of a batch that it fails.

        None where everything gets through.
        """
        if (trouble := self._health.trouble) is not None:
            return trouble
        failing = [batch for batch in self._pending.backlog.batches if batch.failures]
        if not failing:
            return None
        batch = min(failing, key=lambda batch: batch.due)
        wait = max(0.0, batch.due - time.monotonic())
        return Trouble(batch.message, timedelta(seconds=wait), batch.kind)

    @property
    def circuit_open(self) -> bool:
        """Whether the collector is known to be slow or down, so that waiting for it is in vain."""
        oldest = min(self._started.values(), default=math.inf)
        return self._health.is_open or time.monotonic() - oldest > 2 * self._pace.slow

    def submit(self, events: Sequence[WireEvent]) -> None:
        """Take whole events in hand, to be sent soon. Never blocks.

        One that is in hand or settled already is skipped. If there is no room, the rest is left
        out and counted as overflowed: submit it again later.
        """
        for place, event in enumerate(events):
            if not self._pending.take(event):
                # None of the later ones either: they would overtake it.
                self.counters.overflowed += len(events) - place
                break
        self._start()

    def verdicts(self, ids: Iterable[str]) -> dict[str, Verdict]:
        """The verdicts that are known now."""
        return self._pending.ledger.known(ids)

    async def settle(self, ids: Sequence[str], within: timedelta) -> dict[str, Verdict]:
        """Wait for the verdicts on events that were submitted and give those that are known.

        Events that are not in hand are not waited for. It gives up at once when the collector is
        known to be slow or down; the events stay in hand all the same.
        """
        missing = {event_id for event_id in ids if event_id in self._pending}
        self._start()
        began = time.monotonic()
        if missing and not self.circuit_open:
            await self._pending.ledger.wait(missing, within)
        self._timings.deliveries.append(time.monotonic() - began)
        return self.verdicts(ids)

    async def close(self, grace: timedelta = timedelta(seconds=2)) -> None:
        """Send what can be sent now, within `grace`, then stop and forget the rest.

        Whoever waits is let go. A later `submit` opens the courier again.
        """
        self._closing = True
        self._wake.set()
        try:
            await self._stop(grace)
        finally:
            self._pending.clear()
            self._closing = False
        try:
            await self._sink.close()
        except Exception:
            logger.exception("the tracking sink failed to close")

    # The pump: starts each request when it is its time.

    def _start(self) -> None:
        if not len(self._pending):
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            # Outside a loop nothing can be sent; the next call inside one starts it.
            return
        if self._pump is None or self._pump.done() or self._pump.get_loop() is not loop:
            self._disown()
            self._wake = asyncio.Event()
            self._pump = loop.create_task(self._run())
        self._wake.set()

    def _disown(self) -> None:
        """Forget requests that were cut off, with their loop or by `close`."""
        self._sending.clear()
        self._started.clear()
        for batch in self._pending.backlog.batches:
            batch.under_way = False

    async def _run(self) -> None:
        try:
            while len(self._pending):
                self._wake.clear()
                pause = self._launch()
                if self._closing and not self._sending:
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
        except Exception:
            logger.exception("sending tracking events failed; the next submit starts it again")
            self._pending.ledger.release()

    def _launch(self) -> float | None:
        """Start what may be sent now. Gives the seconds until something else may be, if known."""
        while len(self._sending) < self._health.parallel:
            now = time.monotonic()
            if now < self._health.hold_until:
                return self._health.hold_until - now
            batch = self._choose(now)
            if batch is None:
                return self._pause(now)
            self._dispatch(batch, now)
        return None

    def _choose(self, now: float) -> Batch | None:
        """The next batch. While the collector fails, old and fresh ones take turns.

        So one batch that makes it fail does not keep the others from being tried.
        """
        ready = self._pending.backlog.ready(now)
        self._fresh_turn = bool(self._health.failures) and not self._fresh_turn
        if ready and not self._fresh_turn:
            return ready[0]
        return self._fresh(now) or (ready[0] if ready else None)

    def _fresh(self, now: float) -> Batch | None:
        full = self._pending.backlog.waiting >= self._batch_size
        if not full and not self._closing and now < self._next_request:
            return None
        batch = self._pending.backlog.form(self._batch_size, self._pace.max_batch_bytes - 1, now)
        if batch is not None:
            self._last_request = now
        return batch

    @property
    def _next_request(self) -> float:
        """When events may leave that do not fill a request: those that come soon share it."""
        return self._last_request + self._pace.linger

    def _pause(self, now: float) -> float | None:
        waits = self._pending.backlog.waiting and self._next_request > now
        until = min(self._next_request if waits else math.inf, self._pending.backlog.next_due())
        return None if until == math.inf else max(until - now, 0.0)

    def _dispatch(self, batch: Batch, now: float) -> None:
        batch.under_way = True
        batch.first_try = min(batch.first_try, now)
        batch.last_try = now
        task = asyncio.get_running_loop().create_task(self._send(batch, now))
        self._sending.add(task)
        self._started[batch] = now
        task.add_done_callback(self._sent)

    def _sent(self, task: "asyncio.Task[None]") -> None:
        self._sending.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("handling the answer to a tracking batch failed", exc_info=error)
            self._health.hold(self._pace.longest_wait)

    async def _send(self, batch: Batch, started: float) -> None:
        self.counters.requests += 1
        if batch.failures:
            self.counters.retried += len(batch.entries)
        try:
            result = await self._ask([entry.event for entry in batch.entries])
            now = time.monotonic()
            self._timings.requests.append(now - started)
        finally:
            batch.under_way = False
            # Now, before anybody hears of the outcome: it no longer counts as one that hangs.
            self._started.pop(batch, None)
        self._responses.conclude(batch, result, started)

    async def _ask(self, events: list[WireEvent]) -> SendResult:
        try:
            async with asyncio.timeout(self._pace.request_limit):
                return await self._sink.send(events)
        except TimeoutError:
            return RetryLater("the tracking sink did not answer in time")
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            logger.debug("the tracking sink raised", exc_info=True)
            return RetryLater(f"the tracking sink raised {type(error).__name__}")

    async def _stop(self, grace: timedelta) -> None:
        if self._pump is None:
            return
        await asyncio.wait({self._pump}, timeout=grace.total_seconds())
        tasks = [self._pump, *self._sending]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._pump = None
        self._disown()
