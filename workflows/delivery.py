"""Delivers the tracking events of an instance that ended, or holds too many."""

from typing import Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, ApplicationError

from durable_jobs.protocol import DELIVERY_WORKFLOW, FLUSH, Detail, FlushRequest
from durable_jobs.wire import to_raw

from .library import start_delivery, verdicts_of


@workflow.defn(name=DELIVERY_WORKFLOW, sandboxed=False)
class TrackingDelivery:
    """Lives until each of its events was delivered, refused for good, or too old."""

    def __init__(self) -> None:
        self.known: Detail = {"pending": 0, "delivered": 0, "rejected": 0, "dropped": 0}
        """How many events wait, and what became of the others."""

        self.known["lastError"] = None

    @workflow.run
    async def run(self, request: RawValue) -> RawValue:
        """Deliver everything, however long it takes; the result is the final status."""
        events = FlushRequest.model_validate_json(request.payload.data).events
        self.known["pending"] = len(events)
        workflow.set_current_details(f"Delivering {len(events)} tracking events")
        try:
            raw: Any = await start_delivery(FLUSH, FlushRequest(events=events))
        except ActivityError as error:
            raise ApplicationError(f"delivery ended: {error}", non_retryable=True) from error
        verdicts = verdicts_of(raw)
        self.known = {
            "pending": len(events) - len(verdicts.settled()),
            "delivered": len(verdicts.delivered),
            "rejected": len(verdicts.rejected),
            "dropped": len(verdicts.dropped),
            "lastError": next(
                iter([*verdicts.rejected.values(), *verdicts.dropped.values()]), None
            ),
        }
        return to_raw(self.known)

    @workflow.query
    def status(self) -> RawValue:
        """How many events wait, and what became of the others."""
        return to_raw(self.known)
