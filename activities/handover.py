"""Hands tracking events over to Temporal while the collector is in trouble.

Instances share the workflows that deliver them then: one for each would cost the server as much
again as the instance did.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import uuid4

from temporalio import activity
from temporalio.common import WorkflowIDReusePolicy

from durable_jobs.names import DELIVER_SIGNAL, DELIVERY_WORKFLOW
from durable_jobs.protocol import DeliverRequest, Detail
from durable_jobs.values import size
from durable_jobs.wire import to_raw

# What one workflow gets: its history stays short, and what it waits for fits into one activity.
MAX_EVENTS = 1_000
MAX_BYTES = 1_000_000
_CALL_TIME = timedelta(seconds=2)


@dataclass
class _Group:
    """Events that go in one signal."""

    events: list[Detail] = field(default_factory=list[Detail])
    bytes: int = 0
    sent: bool = False


class HandOver:
    """Gives events to a `TrackingDelivery` of this process, for one task queue."""

    def __init__(self, task_queue: str) -> None:
        self._queue = task_queue
        self._turn = asyncio.Lock()
        self._group = _Group()
        self._begin()

    def _begin(self) -> None:
        self._workflow = f"tracking-delivery:{uuid4()}"
        self._events = self._bytes = 0

    async def give(self, events: list[Detail]) -> None:
        """Return once Temporal has them. What comes while a call is under way shares the next.

        Raises RPCError where Temporal does not take them: the delivery is tried again then.
        """
        group = self._join(events)
        async with self._turn:
            if not group.sent:
                await self._send(group)

    def _join(self, events: list[Detail]) -> _Group:
        added = size(events)
        if self._group.bytes + added > MAX_BYTES // 2:
            self._group = _Group()
        self._group.events += events
        self._group.bytes += added
        return self._group

    async def _send(self, group: _Group) -> None:
        if self._events + len(group.events) > MAX_EVENTS or self._bytes + group.bytes > MAX_BYTES:
            self._begin()
        self._group = _Group()
        try:
            await signal(self._workflow, self._queue, group.events)
        except BaseException:
            # They may be there all the same: how much this workflow has is no longer known.
            self._begin()
            raise
        group.sent = True
        self._events += len(group.events)
        self._bytes += group.bytes


async def signal(workflow_id: str, task_queue: str, events: list[Detail]) -> None:
    """Give events to a `TrackingDelivery`, which this starts."""
    await activity.client().start_workflow(
        DELIVERY_WORKFLOW,
        to_raw(DeliverRequest(events=[])),
        id=workflow_id,
        task_queue=task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        start_signal=DELIVER_SIGNAL,
        start_signal_args=[to_raw(DeliverRequest(events=events))],
        static_summary="Tracking events that wait for their collector",
        rpc_timeout=_CALL_TIME,
    )
