"""Starts the deliveries of an instance's outbox, and notes what came of them."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RawValue, RetryPolicy
from temporalio.exceptions import ActivityError

from durable_jobs.names import DELIVER
from durable_jobs.protocol import DeliverRequest, DeliverResult
from durable_jobs.tracking.outbox import Outbox
from durable_jobs.wire import model_from_raw, to_raw

from .machines.machine import Machine

LONG_WAIT = timedelta(seconds=2)
"""An instance that is about to wait longer than this sends its events before."""

OLD = timedelta(seconds=5)
MANY = 100
"""At a wake-up that happens anyway, events leave that are so old, or so many.

On a busy server a window of half a second is open for three: it still delivers only once.
"""

PATIENCE = 10.0
LAST_PATIENCE = 1.0
"""Seconds that a delivery waits for the collector, and the one at an end."""

_TRIED_AGAIN = RetryPolicy(
    initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=10)
)


def start_delivery(request: DeliverRequest) -> workflow.ActivityHandle[Any]:
    """Start the activity that delivers tracking events."""
    return workflow.start_activity(
        DELIVER,
        to_raw(request),
        result_type=RawValue,
        # It makes no heartbeats: so soon a killed worker is noticed.
        start_to_close_timeout=timedelta(seconds=request.patience + 10),
        retry_policy=_TRIED_AGAIN,
        summary="deliver tracking events",
    )


class Deliverer:
    """At most one delivery is in flight, but for the last one: an end does not wait for another."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._handle: workflow.ActivityHandle[Any] | None = None
        self._is_last = False

    @property
    def _outbox(self) -> Outbox:
        return self._machine.outbox

    @property
    def idle(self) -> bool:
        """Whether no delivery is in flight."""
        return self._handle is None

    def done(self) -> bool:
        """Whether a delivery has ended."""
        return self._handle is not None and self._handle.done()

    def before_wait(self, now: datetime, until: datetime | None) -> None:
        """Send what the instance has before it waits."""
        oldest = self._outbox.oldest
        if self._handle is not None or oldest is None:
            return
        long = not self._machine.running and (until is None or until - now > LONG_WAIT)
        if long or now - oldest >= OLD or self._outbox.pending >= MANY:
            self._start(PATIENCE)

    def end(self) -> bool:
        """Send everything that is left at the end of a life. Returns whether nothing is."""
        if not self._outbox.pending:
            return True
        if not self._is_last or self._handle is None:
            self._is_last = True
            self._start(LAST_PATIENCE)
        return False

    def _start(self, patience: float) -> None:
        machine = self._machine
        options = machine.options
        request = DeliverRequest(
            events=self._outbox.take(),
            execution_id=self._outbox.execution_id,
            patience=patience,
            tracked=self._outbox.tracked is not None,
            job=None if machine.over else machine.ref,
            digest=options.digest if options is not None and machine.confirmed else "",
        )
        self._handle = start_delivery(request)

    def take_result(self, now: datetime) -> None:
        """Note what came of a delivery that has ended."""
        if self._handle is None or not self._handle.done():
            return
        handle, self._handle, self._is_last = self._handle, None, False
        try:
            result = model_from_raw(DeliverResult, handle.result())
        except (ActivityError, asyncio.CancelledError, ValueError) as error:
            workflow.logger.warning("A delivery of tracking events ended early: %s", error)
            self._outbox.release()
            return
        self._outbox.settle(result)
        self._machine.adopt(result.options, now)
        if result.unknown is not None:
            self._machine.not_known(result.unknown)
