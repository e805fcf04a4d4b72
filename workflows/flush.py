"""Gets tracking events out of an instance, without ever holding the instance up."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from temporalio import workflow
from temporalio.exceptions import ActivityError, WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

from durable_jobs.names import DELIVERY_WORKFLOW, FLUSH, FLUSH_NOW
from durable_jobs.protocol import Detail, FlushRequest, Verdicts
from durable_jobs.tracking.outbox import Outbox
from durable_jobs.wire import to_raw

from .library import call_local, start_delivery, verdicts_of

PROMPT = timedelta(seconds=2)
"""Tracking events may wait this long for an activity that takes them along."""

SOON = timedelta(minutes=1)
"""The same where the collector is in trouble."""

STAYED = "durable_jobs.stayed."
"""Begins the ID of the patch that says that events did not leave with their workflow task."""

Leave: TypeAlias = Callable[[list[Detail], timedelta], bool]
"""Delivers events of an instance that lived so long; whether all were. Never raises.

Called from the thread of a workflow task."""


def _leave_nothing(events: list[Detail], lived: timedelta) -> bool:
    """Of a worker that delivers nothing."""
    return False


class Flusher:
    """Delivers what stands in an outbox.

    First by a local activity that waits at most 50 ms: one history event. It runs within a workflow
    task, which is done again, maybe with more signals, when the server refuses its completion or
    its worker dies. So it takes only events that come out the same then: those of earlier tasks,
    and those that follow from what history holds. The others leave with the next handler's
    activity, with the next task, or, where that is far, by a regular activity: all of these start
    once the task is in history. While an instance waits for a handler's start that is near, all
    events wait for it.

    Where 50 ms were not enough, the rest waits for the instance's next step, if that is near; else
    one regular activity with a long retry takes over while the instance goes on.

    At a life's end the task itself delivers, if the last run's worker said that events get through:
    see `leaving.py`. Else a local activity tries, and signals the rest to a `TrackingDelivery` that
    instances share; what may not leave by a local activity gets one of its own, as a child.
    """

    def __init__(self, outbox: Outbox, task: Callable[[], int]) -> None:
        self._outbox = outbox
        self._current_task = task
        self._task: asyncio.Task[None] | None = None
        self._delivery: workflow.ActivityHandle[Any] | None = None
        self._busy = False
        self._stopping = False
        self._ending = False
        self._urged = False
        self._held = False
        self._wakes_soon = False
        self._tried = False
        """Whether what waits was not delivered at once a moment ago."""

        self._waited = False
        """Whether the workflow task at hand has waited for a delivery, and may not again."""

        self.delivers: bool = False
        """Whether the worker that made the last run gets events through."""

        self.leave: Leave = _leave_nothing
        """Set by the worker at hand."""

        self._waiting_since: datetime | None = None

    def start(self) -> None:
        """Begin to flush in the background."""
        self._stopping = self._ending = False
        self._task = asyncio.create_task(self._loop())
        self._task.add_done_callback(_log_failure)

    def before_wait(self, now: datetime, until: datetime | None) -> None:
        """Deliver all that waits now, unless a handler that takes it along will start soon.

        That costs no history, and its worker's requests carry more events each.
        """
        self._wakes_soon = until is not None and until - now <= SOON
        if not self._outbox.ready():
            self._waiting_since = None
            return
        self._waiting_since = self._waiting_since or now
        self._held = until is not None and until - self._waiting_since <= PROMPT
        self._urged = not self._held

    def before_run(self) -> None:
        """A handler takes along what waits; what it does not get delivered waits anew."""
        self._waiting_since = None

    def after_wait(self) -> None:
        """From here on, what follows from history leaves at once again."""
        self._held = self._wakes_soon = False

    def note(self, verdicts: Verdicts | None) -> None:
        """Note what became of events that another activity has taken along just now."""
        if verdicts is not None:
            self._outbox.settle(verdicts)
            self._tried = self._outbox.ready()

    async def _loop(self) -> None:
        while True:
            await workflow.wait_condition(self._is_due)
            if self._outbox.overflowing:
                await self._hand_over(self._outbox.take_all())
                continue
            left = await self._flush_now(self._outbox.take(self._current_task()))
            self._tried = False
            if self._stopping:
                return
            self._outbox.release(left)
            if left and self._wakes_soon:
                self._held, self._urged = True, False
            elif left or self._urged:
                self._urged = False
                await self._deliver(self._outbox.take())

    def _is_due(self) -> bool:
        return not self._ending and (self._urged or self._leaves_now())

    def _leaves_now(self) -> bool:
        if self._held:
            return self._outbox.overflowing
        return self._outbox.ready(self._current_task())

    async def _flush_now(self, events: list[Detail]) -> list[Detail]:
        if not events or self._tried:
            return events
        self._busy = True
        try:
            request = FlushRequest(
                events=events,
                keep=self._ending,
                waited=self._waited,
                lived=_lived() if self._ending and not self._waited else None,
            )
            verdicts = await call_local(FLUSH_NOW, request, Verdicts)
        finally:
            self._busy = False
        if verdicts is None:
            return events
        self._outbox.settle(verdicts)
        settled = verdicts.settled()
        return [event for event in events if event["eventId"] not in settled]

    async def _deliver(self, events: list[Detail]) -> None:
        if not events:
            return
        self._delivery = start_delivery(FLUSH, FlushRequest(events=events))
        overflow = asyncio.create_task(
            workflow.wait_condition(lambda: self._outbox.overflowing and self._outbox.ready())
        )
        try:
            await workflow.wait([self._delivery, overflow], return_when=asyncio.FIRST_COMPLETED)
        finally:
            overflow.cancel()
        if self._delivery.done():
            self._settle(self._delivery, events)
        else:
            self._delivery.cancel()
            self._outbox.release(events)
        self._delivery = None

    def _settle(self, delivery: workflow.ActivityHandle[Any], events: list[Detail]) -> None:
        try:
            self._outbox.settle(verdicts_of(delivery.result()))
        except (ActivityError, asyncio.CancelledError):
            workflow.logger.warning("Delivery of tracking events ended early, trying again")
        self._outbox.release(events)

    def end(self) -> None:
        """From here on, what is not delivered at once is to be kept by another workflow."""
        self._ending = True

    async def finish(self) -> None:
        """Leave the outbox empty: deliver the rest, or see it kept by workflows of their own."""
        self.end()
        await self.stop()
        while events := self._outbox.take(self._current_task()):
            if self._leave_with_task(events):
                continue
            left = await self._flush_now(events)
            self._waited = False
            self._outbox.release(left)
            if left:
                break
        if unkept := self._outbox.take_all():
            await self._hand_over(unkept)

    def _leave_with_task(self, events: list[Detail]) -> bool:
        """Whether the workflow task at hand delivers them all, as the last there are."""
        if not self.delivers or self._tried or self._outbox.ready(self._current_task()):
            return False
        if workflow.unsafe.is_replaying() or not self.leave(events, _lived()):
            self._waited = True
            # Tells a replay, to which everything else was delivered.
            self.delivers = not workflow.patched(f"{STAYED}{events[0]['sequence']}")
        if self.delivers:
            self._outbox.settle(Verdicts(delivered=[event["eventId"] for event in events]))
        return self.delivers

    async def stop(self) -> None:
        """Stop flushing; what is not settled stays in the outbox."""
        self._stopping = True
        await workflow.wait_condition(lambda: not self._busy)
        if self._task is not None:
            self._task.cancel()
        if self._delivery is not None and not self._delivery.done():
            self._delivery.cancel()
        self._delivery = None
        self._outbox.release(self._outbox.take_all())

    async def _hand_over(self, events: list[Detail]) -> None:
        """Give events to a child that outlives this instance; returns once it exists."""
        self._busy = True
        try:
            await self._start_child(events)
        finally:
            self._busy = False
        self._outbox.hand_over(events)

    async def _start_child(self, events: list[Detail]) -> None:
        first = events[0]
        # After a reset the same events are handed over again, by the same first run: the random
        # part is another one then. A run ID is not: a Replayer does not know that of a reset run.
        known = f"{workflow.info().first_execution_run_id}:{first['sequence']}"
        child_id = f"tracking-delivery:{known}:{str(workflow.uuid4())[:8]}"
        try:
            await workflow.start_child_workflow(
                DELIVERY_WORKFLOW,
                to_raw(FlushRequest(events=events)),
                id=child_id,
                parent_close_policy=ParentClosePolicy.ABANDON,
                static_summary=f"Tracking events of {first['instanceId']}",
            )
        except WorkflowAlreadyStartedError:
            workflow.logger.info("%s delivers these events already", child_id)


def _lived() -> timedelta:
    return workflow.now() - workflow.info().workflow_start_time


def _log_failure(task: asyncio.Task[None]) -> None:
    """Nobody waits for the task; events still leave with handlers and at the end."""
    if not task.cancelled() and (error := task.exception()) is not None:
        workflow.logger.error("Flushing of tracking events broke off", exc_info=error)
