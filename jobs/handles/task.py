"""The handle of a task instance."""

import asyncio
import time
import uuid
from datetime import timedelta
from functools import partial
from typing import Any, Generic

from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode
from typing_extensions import TypeVar

from ..definitions import TaskJob
from ..errors import JobFailed
from ..names import ASK_AGAIN, ASK_AGAIN_MARK
from ..wire import JSON, json_to_raw
from .base import Connection, Handle
from .batch import Item, patiently, update_slot

Event = TypeVar("Event")
State = TypeVar("State")
Reply = TypeVar("Reply", default=None)


class TaskHandle(Handle[State], Generic[Event, State, Reply]):
    """Sends events to an instance, asks it, and controls it."""

    workflow = "TaskJob"

    def __init__(
        self, connection: Connection, job: type[TaskJob[Event, State, Reply]], key: str
    ) -> None:
        super().__init__(connection, job, key)

    async def send(self, event: Event, id: str | None = None) -> None:  # noqa: A002
        """Send an event; returns once it is durable in Temporal.

        Concurrent sends to one key share a call, in the order in which they were made.
        An event whose `id` the instance saw among its last 500 is dropped.

        Raises:
            InvalidEvent: it does not fit the event type; nothing was sent.
            PayloadTooLarge: it has over 256 KB.
            Busy: the instance takes no more at the moment.
        """
        item = self._item(event, id, "send")
        lane = (self.instance_id, "send")
        await self._connection.batcher.share(lane, self._signal_sends, item)

    async def _signal_sends(self, items: list[Item]) -> list[None]:
        return await self._signal_events("send", items)

    async def ask(
        self,
        event: Event,
        id: str | None = None,  # noqa: A002
        timeout: timedelta = timedelta(seconds=30),
    ) -> Reply:
        """Send an event and wait for what `on_event` returns.

        Raises:
            InvalidEvent, PayloadTooLarge, Busy: as `send`.
            JobFailed: the handler failed for good, or the instance ended first.
            TimeoutError: no reply in time; the event stays queued, and asking again with the
                same `id` joins it.
        """
        data = json_to_raw(self._codec.event_json(event, self.key))
        event_id = self._event_id(id, "ask") or str(uuid.uuid4())
        slot = update_slot(self.instance_id)
        try:
            async with asyncio.timeout(timeout.total_seconds()), slot:
                answer = await self._ask(data, event_id, timeout)
        except WorkflowUpdateRPCTimeoutOrCancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise asyncio.CancelledError from error
            raise TimeoutError(f"{self.instance_id}: no reply within {timeout}") from error
        return self._codec.load_reply(answer)

    async def _ask(self, data: JSON, event_id: str, timeout: timedelta) -> Any:
        deadline = time.monotonic() + timeout.total_seconds()
        number = 0
        while True:
            left = timedelta(seconds=max(deadline - time.monotonic(), 0.05))
            # An update's id answers the same for ever, so each further question has its own.
            mark = f"{ASK_AGAIN_MARK}{uuid.uuid4().hex[:8]}" if number else ""
            try:
                return await patiently(partial(self._ask_once, data, event_id + mark, left))
            except WorkflowUpdateFailedError as error:
                if not _handed_back(error):
                    raise self._failure(error) from error
            number += 1
            await asyncio.sleep(min(0.05 * 2 ** min(number, 8), 1.0))

    async def _ask_once(self, data: JSON, update_id: str, left: timedelta) -> Any:
        try:
            return await self._update_with_start("ask", data, update_id=update_id, timeout=left)
        except WorkflowUpdateFailedError as error:
            if (not_yet := self._not_yet(error)) is not None:
                raise not_yet from error
            raise

    def _failure(self, error: WorkflowUpdateFailedError) -> Exception:
        cause = error.cause
        if isinstance(cause, ApplicationError) and cause.type == "JobFailed":
            return JobFailed(f"{self.instance_id}: {cause.message}")
        return self._refused(error)

    async def trigger(self) -> bool:
        """Run `execute` once now. False where no instance is alive."""
        return await self._control("trigger")

    async def redrive(self, id: str | None = None) -> int:  # noqa: A002
        """Queue the events that were set aside again, or the one with this id.

        They are listed in `status().failed_events`. Returns how many there were; 0 also where no
        instance is alive.
        """
        once = self._connection.once
        update_id = None if once is None else once.next_id(self.instance_id, "redrive")
        arguments = [] if id is None else [id]
        try:
            # The SDK leaves a parameter of its overloads open.
            answer: Any = await self._handle.execute_update(  # pyright: ignore[reportUnknownMemberType]
                "redrive", args=arguments, id=update_id
            )
        except RPCError as error:
            if error.status == RPCStatusCode.NOT_FOUND:
                return 0
            raise self._busy_or(error) from error
        except WorkflowUpdateFailedError as error:
            raise self._refused(error) from error
        return int(answer["redrivenEvents"])


def _handed_back(error: WorkflowUpdateFailedError) -> bool:
    cause = error.cause
    if not isinstance(cause, ApplicationError):
        return False
    # The server's own word for an update that a closing run did not get to.
    return cause.type in (ASK_AGAIN, "AcceptedUpdateCompletedWorkflow")
