"""How far this machine's clock and the server's are apart."""

import asyncio
import contextlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import PollWorkflowTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from ..connection import pollers

_LOOK_EVERY = 0.02  # seconds
_LONG_ENOUGH = timedelta(seconds=10)
"""The server refuses shorter polls."""


async def skew(client: Client, timeout: timedelta) -> timedelta | None:
    """By how much our clock is ahead of the server's, at least; None where nobody can tell.

    Temporal tells its time nowhere, but notes when somebody polled: so we poll a queue of our own.
    """
    queue = f"durable-jobs-doctor-{uuid.uuid4().hex[:8]}"
    request = PollWorkflowTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=queue), identity=queue
    )
    polling = asyncio.ensure_future(
        client.workflow_service.poll_workflow_task_queue(request, timeout=_LONG_ENOUGH)
    )
    began = datetime.now(UTC)
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            theirs = await _noted(client, queue, polling)
    except (TimeoutError, RPCError):
        return None
    finally:
        polling.cancel()
        with contextlib.suppress(asyncio.CancelledError, RPCError):
            await polling
    return least_skew(theirs, began, datetime.now(UTC))


def least_skew(theirs: datetime, began: datetime, noticed: datetime) -> timedelta:
    """The smallest that explains what was noted at a moment between two of ours."""
    if began <= theirs <= noticed:
        return timedelta()
    return began - theirs if theirs < began else noticed - theirs


async def _noted(client: Client, queue: str, polling: "asyncio.Future[Any]") -> datetime:
    while not polling.done():
        for each in await pollers(client, queue):
            return each.last_access_time.ToDatetime(UTC)
        await asyncio.sleep(_LOOK_EVERY)
    raise TimeoutError
