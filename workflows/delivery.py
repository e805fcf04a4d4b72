"""Delivers the tracking events of instances that ended, or of one that holds too many."""

from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, ApplicationError

from durable_jobs.names import DELIVER_SIGNAL, DELIVERY_WORKFLOW, FLUSH
from durable_jobs.protocol import Detail, FlushRequest
from durable_jobs.wire import model_from_raw, to_raw

from .library import start_delivery, verdicts_of


@workflow.defn(name=DELIVERY_WORKFLOW, sandboxed=False)
class TrackingDelivery:
    """Lives until each of its events was delivered, refused for good, or too old."""

    def __init__(self) -> None:
        self._waiting: dict[str, Detail] = {}
        self.known: Detail = {"pending": 0, "delivered": 0, "rejected": 0, "dropped": 0}
        """How many events wait, and what became of the others."""

        self.known["lastError"] = None

    @workflow.run
    async def run(self, request: RawValue) -> RawValue:
        """Deliver everything, however long it takes; the result is the final status."""
        self._take(request)
        while self._waiting:
            await self._deliver(list(self._waiting.values()))
        return to_raw(self.known)

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
            events = model_from_raw(FlushRequest, request).events
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
        try:
            raw: Any = await start_delivery(FLUSH, FlushRequest(events=events))
        except ActivityError as error:
            raise ApplicationError(f"delivery ended: {error}", non_retryable=True) from error
        verdicts = verdicts_of(raw)
        for event_id in verdicts.settled():
            self._waiting.pop(event_id, None)
        for kind in ("delivered", "rejected", "dropped"):
            self.known[kind] += len(getattr(verdicts, kind))
        refused = [*verdicts.rejected.values(), *verdicts.dropped.values()]
        if refused:
            self.known["lastError"] = refused[-1]
        self._show()

    @workflow.query
    def status(self) -> RawValue:
        """How many events wait, and what became of the others."""
        return to_raw(self.known)
