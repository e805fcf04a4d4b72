"""Delivers the tracking events of instances that ended, or of one that holds too many."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError

from durable_jobs.names import DELIVER_SIGNAL, DELIVERY_WORKFLOW
from durable_jobs.protocol import DeliverRequest, DeliverResult, Detail
from durable_jobs.values import size
from durable_jobs.wire import model_from_raw, to_raw

from .delivering import PATIENCE as REQUEST_PATIENCE
from .delivering import start_delivery

PATIENCE = timedelta(seconds=10)
"""What comes in waits so long for the delivery that is under way, then leaves beside it: an event
that fails for ever holds up no other. Twice as long for each further one."""

MOST_BYTES = 1_000_000
"""In one activity's input; a payload may have 2 MB."""


@workflow.defn(name=DELIVERY_WORKFLOW, sandboxed=False)
class TrackingDelivery:
    """Lives until each of its events was delivered, refused for good, or too old.

    Cancel does not end it: whoever cancels all that runs does not mean to lose events. Terminate
    does, and `durable-jobs reconcile` finds the events then.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, Detail] = {}
        self._leaving: set[str] = set()
        """Those that an activity has."""

        self.known: Detail = {"pending": 0, "delivered": 0, "rejected": 0, "dropped": 0}
        """How many events wait, and what became of the others."""

        self.known["lastError"] = None

    @workflow.run
    async def run(self, request: RawValue) -> RawValue:
        """Deliver everything, however long it takes; the result is the final status."""
        self._take(request)
        under_way: set[asyncio.Task[None]] = set()
        while self._waiting:
            if batch := self._next_batch():
                under_way.add(asyncio.create_task(self._deliver(batch)))
            under_way = await self._progress(under_way)
        return to_raw(self.known)

    def _next_batch(self) -> list[Detail]:
        batch: list[Detail] = []
        room = MOST_BYTES
        for event_id, event in self._waiting.items():
            if event_id in self._leaving:
                continue
            room -= size(event)
            if batch and room < 0:
                break
            batch.append(event)
        self._leaving.update(event["eventId"] for event in batch)
        return batch

    async def _progress(self, under_way: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
        """Wait for one to end, or for events that have waited enough; gives those that go on."""
        patience = asyncio.create_task(self._patience(len(under_way)))
        try:
            await workflow.wait([*under_way, patience], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            workflow.logger.warning("Cancelled, but %d tracking events wait", len(self._waiting))
        finally:
            patience.cancel()
        for task in [task for task in under_way if task.done()]:
            task.result()
        return {task for task in under_way if not task.done()}

    async def _patience(self, under_way: int) -> None:
        await workflow.wait_condition(lambda: len(self._waiting) > len(self._leaving))
        await workflow.sleep(PATIENCE * 2 ** (under_way - 1))

    @workflow.signal(dynamic=True)
    def _on_signal(self, name: str, args: Sequence[RawValue]) -> None:
        """Take more events, by the signal `deliver`."""
        if name != DELIVER_SIGNAL:
            workflow.logger.warning("Ignored the unknown signal %r", name)
            return
        for request in args:
            self._take(request)

    def _take(self, request: RawValue) -> None:
        # Never raises: that would hold up the events of all other instances.
        try:
            events = model_from_raw(DeliverRequest, request).events
        except ValueError:
            workflow.logger.warning("Ignored what are no tracking events")
            return
        named = [event for event in events if isinstance(event.get("eventId"), str)]
        if len(named) < len(events):
            workflow.logger.warning("Ignored tracking events without an eventId")
        self._waiting.update((event["eventId"], event) for event in named)
        self._show()

    def _show(self) -> None:
        self.known["pending"] = len(self._waiting)
        workflow.set_current_details(f"Delivering {len(self._waiting)} tracking events")

    async def _deliver(self, events: list[Detail]) -> None:
        request = DeliverRequest(events=events, patience=REQUEST_PATIENCE, until_settled=True)
        try:
            raw: Any = await start_delivery(request)
        except ActivityError as error:
            # Ended by hand: it starts anew.
            workflow.logger.warning("Delivery of tracking events ended early: %s", error)
            await workflow.sleep(PATIENCE)
        else:
            self._note(events, model_from_raw(DeliverResult, raw))
        self._leaving.difference_update(event["eventId"] for event in events)
        self._show()

    def _note(self, events: list[Detail], result: DeliverResult) -> None:
        """Each of them is settled, or the activity would have gone on."""
        for event in events:
            self._waiting.pop(event["eventId"], None)
        self.known["delivered"] += result.delivered
        self.known["rejected"] += len(result.rejected)
        self.known["dropped"] += result.dropped
        self.known["lastError"] = result.last_error or self.known["lastError"]

    @workflow.query
    def status(self) -> RawValue:
        """How many events wait, and what became of the others."""
        return to_raw(self.known)
