"""The activities that deliver tracking events, through the worker's one courier."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from durable_jobs.names import FLUSH, FLUSH_NOW
from durable_jobs.protocol import Detail, FlushRequest, Verdicts
from durable_jobs.tracking import Tracking
from durable_jobs.tracking.courier import Courier, Pace
from durable_jobs.tracking.delivery import submit, summary
from durable_jobs.wire import model_from_raw, to_raw

from .keeping import Keeper

logger: logging.Logger = logging.getLogger(__name__)

# A local activity holds its workflow task.
NOW = timedelta(milliseconds=50)

# An end may wait for company before, and the event loop of a busy worker may be late to begin, and
# to say that the time is over.
_NO_LONGER = Pace().end + 2 * NOW.total_seconds()

# Long enough for a slow request, short enough for the activity's own time limit. What is under way
# then goes on; the next try joins it.
_ONE_TRY = timedelta(seconds=10)
_OFF = "tracking is switched off on the worker that was to deliver them"


class FlushActivities:
    """Delivers events of instances; without a courier it leaves them to other workers."""

    def __init__(self, tracking: Tracking | None, courier: Courier | None) -> None:
        self._tracking = tracking
        self._courier = courier
        self._said_off = False
        self._keepers: dict[str, Keeper] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    @activity.defn(name=FLUSH_NOW)
    async def flush_now(self, raw: RawValue) -> RawValue:
        """Deliver what can be delivered within 50 ms; the rest stays under way, or is kept.

        At an end the 50 ms count from when it has waited for company.
        """
        request = model_from_raw(FlushRequest, raw)
        # Nothing of the instance comes after what it wants kept.
        within = timedelta() if request.waited else NOW
        verdicts = await self._flush(request.events, within, request.lived)
        return to_raw(await self._keep(request.events, verdicts) if request.keep else verdicts)

    def open(self) -> None:
        """From here on, workflow tasks may leave events to the event loop at hand."""
        self._loop = asyncio.get_running_loop()

    def flush_from_task(self, events: list[Detail], lived: timedelta) -> bool:
        """Deliver events of an instance that ends, from its task's thread; whether all were.

        What is late is under way all the same: the local activity that follows does not wait again.
        """
        if self._courier is None or self._loop is None or not self._loop.is_running():
            return False
        # The loop must not take the context of a workflow for its own.
        flushing = Context().run(
            asyncio.run_coroutine_threadsafe,
            self._flush(events, NOW, lived),
            self._loop,
        )
        try:
            return len(flushing.result(_NO_LONGER).delivered) == len(events)
        except TimeoutError:
            flushing.cancel()
        except Exception:
            logger.exception("delivering %d tracking events from a workflow task", len(events))
        return False

    async def flush_within(self, events: list[Detail]) -> Verdicts:
        """What became of events within 50 ms."""
        return await self._flush(events, NOW)

    async def _keep(self, events: list[Detail], verdicts: Verdicts) -> Verdicts:
        settled = verdicts.settled()
        left = [event for event in events if event["eventId"] not in settled]
        if not left or not await self._keeper().keep(left):
            return verdicts
        return verdicts.model_copy(update={"kept": [event["eventId"] for event in left]})

    def _keeper(self) -> Keeper:
        queue = activity.info().task_queue
        if queue not in self._keepers:
            self._keepers[queue] = Keeper(queue)
        return self._keepers[queue]

    @activity.defn(name=FLUSH)
    async def flush_events(self, raw: RawValue) -> RawValue:
        """Deliver all; fails, to be tried again, until each event is settled."""
        events = model_from_raw(FlushRequest, raw).events
        verdicts = await self._flush(events, _ONE_TRY)
        missing = len(events) - len(verdicts.settled())
        if missing:
            raise ApplicationError(
                f"{missing} of {len(events)} tracking events wait: "
                f"{verdicts.trouble or 'the collector has not answered yet'}",
                type="NotDelivered",
                # Said by the courier, once per change; not with a traceback at each attempt.
                category=ApplicationErrorCategory.BENIGN,
                next_retry_delay=self._next_try(),
            )
        return to_raw(verdicts)

    async def _flush(
        self, events: list[Detail], within: timedelta, lived: timedelta | None = None
    ) -> Verdicts:
        if self._courier is None or self._tracking is None:
            return self._left_to_others(events)
        submit(self._courier, self._tracking, events)
        ids = [event["eventId"] for event in events]
        verdicts = await self._courier.settle(ids, within, lived=lived)
        return summary(self._courier, verdicts)

    def _left_to_others(self, events: list[Detail]) -> Verdicts:
        """Leave events to a worker that tracks, as in a deployment, for as long as any has."""
        if not self._said_off:
            self._said_off = True
            logger.error("Tracking events wait for another worker: %s", _OFF)
        oldest = datetime.now(UTC) - Tracking.give_up_after
        late = [
            event["eventId"]
            for event in events
            if datetime.fromisoformat(event["timestamp"]) < oldest
        ]
        if late:
            logger.error("%d tracking events dropped: %s", len(late), _OFF)
        return Verdicts(dropped=dict.fromkeys(late, _OFF), trouble=_OFF)

    def _next_try(self) -> timedelta:
        trouble = self._courier.trouble if self._courier is not None else None
        wait = trouble.next_try_in if trouble is not None else timedelta(seconds=1)
        if self._courier is None:
            wait *= 2 ** min(activity.info().attempt - 1, 10)
        return min(max(wait, timedelta(seconds=1)), timedelta(minutes=5))

    def all(self) -> list[Callable[[RawValue], Awaitable[RawValue]]]:
        """The activities, to be registered."""
        return [self.flush_now, self.flush_events]
