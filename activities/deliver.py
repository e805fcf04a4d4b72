"""The activity that delivers tracking events, through the worker's one courier."""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from durable_jobs.names import DELIVER
from durable_jobs.protocol import DeliverRequest, DeliverResult, Detail
from durable_jobs.registry import Registry
from durable_jobs.tracking import Tracking
from durable_jobs.tracking.courier import Courier, Verdict
from durable_jobs.wire import model_from_raw, to_raw

from .handover import HandOver

logger: logging.Logger = logging.getLogger(__name__)

_OFF = "tracking is switched off on the worker that was to deliver them"


class DeliverActivities:
    """Delivers events of instances; without a courier it leaves them to other workers."""

    def __init__(
        self, registry: Registry, tracking: Tracking | None, courier: Courier | None
    ) -> None:
        self._registry = registry
        self._tracking = tracking
        self._courier = courier
        self._said_off = False
        self._hand_overs: dict[str, HandOver] = {}

    @activity.defn(name=DELIVER)
    async def deliver(self, raw: RawValue) -> RawValue:
        """Deliver events for a bounded time, and hand the rest to a `TrackingDelivery`.

        A `TrackingDelivery` itself asks for as many tries as it takes.
        """
        request = model_from_raw(DeliverRequest, raw)
        told = self._registry.describe(request.job) if request.job else None
        options = told.options if told else None
        if options is not None and options.digest == request.digest:
            options = None
        if self._courier is None or self._tracking is None:
            result = await self._leave_to_others(request)
        else:
            result = await self._deliver(self._courier, self._tracking, request)
        tracking = self._tracking.identity if self._tracking is not None else None
        shown = {
            "execution_id": request.execution_id,
            "tracking": tracking,
            "options": options,
            "unknown": told.message if told else None,
        }
        return to_raw(result.model_copy(update=shown))

    async def _deliver(
        self, courier: Courier, tracking: Tracking, request: DeliverRequest
    ) -> DeliverResult:
        stamped = [_stamped(event, tracking) for event in request.events]
        ids = [event["eventId"] for event in stamped]
        courier.submit([tracking.redact(event) for event in stamped])
        known = await courier.settle(ids, timedelta(seconds=request.patience))
        left = [event for event in stamped if event["eventId"] not in known]
        trouble = courier.trouble
        result = _result(known, trouble.message if left and trouble else None)
        if not left:
            return result
        if request.until_settled:
            raise self._not_delivered(len(left), len(ids), result.last_error)
        await self._hand_over().give(left)
        return result.model_copy(update={"handed_over": len(left)})

    def _hand_over(self) -> HandOver:
        queue = activity.info().task_queue
        if queue not in self._hand_overs:
            self._hand_overs[queue] = HandOver(queue)
        return self._hand_overs[queue]

    def _not_delivered(self, missing: int, count: int, why: str | None) -> ApplicationError:
        return ApplicationError(
            f"{missing} of {count} tracking events wait: "
            f"{why or 'the collector has not answered yet'}",
            type="NotDelivered",
            # Said by the courier, once per change; not with a traceback at each attempt.
            category=ApplicationErrorCategory.BENIGN,
            next_retry_delay=self._next_try(),
        )

    async def _leave_to_others(self, request: DeliverRequest) -> DeliverResult:
        """Leave events to a worker that tracks, as in a deployment, for as long as any has.

        An instance does not wait for one: a `TrackingDelivery` does. What no worker has said to be
        tracked is not.
        """
        if not (request.tracked or request.until_settled) or not request.events:
            return DeliverResult()
        if not request.until_settled:
            await self._hand_over().give(request.events)
            return DeliverResult(handed_over=len(request.events), last_error=_OFF)
        if not self._said_off:
            self._said_off = True
            logger.error("Tracking events wait for another worker: %s", _OFF)
        oldest = datetime.now(UTC) - Tracking.give_up_after
        late = [
            event for event in request.events if datetime.fromisoformat(event["timestamp"]) < oldest
        ]
        if len(late) == len(request.events):
            logger.error("%d tracking events dropped: %s", len(late), _OFF)
            return DeliverResult(dropped=len(late), last_error=_OFF)
        raise self._not_delivered(len(request.events), len(request.events), _OFF)

    def _next_try(self) -> timedelta:
        trouble = self._courier.trouble if self._courier is not None else None
        wait = trouble.next_try_in if trouble is not None else timedelta(seconds=1)
        if self._courier is None:
            wait *= 2 ** min(activity.info().attempt - 1, 10)
        return min(max(wait, timedelta(seconds=1)), timedelta(minutes=5))

    def all(self) -> list[Callable[[RawValue], Awaitable[RawValue]]]:
        """The activities, to be registered."""
        return [self.deliver]


def _stamped(event: Detail, tracking: Tracking) -> Detail:
    """The event with what no worker had said when it was made."""
    known = {"env": tracking.env, "serviceKey": tracking.service_key}
    return {
        name: known[name] if value is None and name in known else value
        for name, value in event.items()
    }


def _result(known: dict[str, Verdict], trouble: str | None) -> DeliverResult:
    counts = Counter(verdict.outcome for verdict in known.values())
    refused = [verdict for verdict in known.values() if verdict.outcome != "delivered"]
    refusal = refused[-1].reason or refused[-1].outcome if refused else None
    return DeliverResult(
        delivered=counts["delivered"],
        rejected={
            event_id: verdict.reason or verdict.outcome
            for event_id, verdict in known.items()
            if verdict.outcome == "rejected"
        },
        dropped=counts["dropped"],
        last_error=trouble or refusal,
    )
